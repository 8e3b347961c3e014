"""``vigie init``: from a CSV to a project that runs."""

from __future__ import annotations

import filecmp
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vigie.commands.options import Flag, Language, Names, Project, find_root
from vigie.errors import ExitCode, UsageError
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write, mode_by_umask

if TYPE_CHECKING:
    from vigie.infer.decide import Decisions
    from vigie.infer.profile import FileProfile
    from vigie.infer.relate import Related

DECLARATION = "dataset.toml"


def init(
    *files: Path,
    target: str | None = None,
    positive: Names = None,
    id: str | None = None,  # noqa: A002 - the option's name
    leave_out: Names = None,
    header: Annotated[bool | None, Parameter(negative="--no-header")] = None,
    cutoff: str | None = None,
    replace: Flag = False,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Look at CSV files, bring them into the project and declare what they are.

    Writes a commented dataset.toml and says what was decided and why; then `vigie run` works.
    Where it can't tell and somebody is at the terminal, it asks. Of several files, it finds keys,
    what points where, and when rows became known.

    Parameters
    ----------
    files
        One or several CSV files, gzipped or not, whatever their delimiters and encodings.
    target
        The column that is to be predicted; of several files also file.column.
    positive
        Its value that one is to be warned of, or several; of a number also a comparison: '>= 7'.
    id
        The column that is each row's own.
    leave_out
        Columns that the model must not see: what wasn't known yet when it is asked.
    header
        Whether the first line holds the columns' names (default: found out).
    cutoff
        Of several files: up to when anything may be known of a row, as a column of the table with
        the outcome, a date, or a day number (default: found out).
    replace
        Replace the declaration that is there; the old one is kept as dataset.toml.bak.
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.infer.declare import Wishes, declare_file, declare_files
    from vigie.settings import project_option

    if not files:
        raise UsageError(
            _("There is no file to look at."),
            where="vigie init",
            fix=_("Name one or several CSV files: vigie init customers.csv orders.csv"),
        )
    root = find_root(project, lang)
    declaration = root / DECLARATION
    if declaration.exists() and not replace:
        raise UsageError(
            _("The project has a declaration already."),
            where=str(declaration),
            fix=_(
                "Change it by hand, or add --replace (the old one is kept as {name}.bak)."
            ).format(name=DECLARATION),
        )
    wishes = Wishes(target, tuple(positive or ()), id, tuple(leave_out or ()))
    tables: list[Related] = []
    if len(files) == 1:
        made, text = declare_file(files[0], wishes, ask=_ask, header=header)
    else:
        made, tables, text = declare_files(files, wishes, ask=_ask, header=header, cutoff=cutoff)
    brought = [_bring(file, root / "data" / "raw") for file in files]
    if declaration.exists():
        shutil.copy2(declaration, declaration.with_name(f"{DECLARATION}.bak"))
    _write(declaration, text)
    settings = _point_settings(root)
    if tables:
        _tell_related(made, tables)
    else:
        _tell(made, brought[0])
    for path in (*brought, declaration, settings):
        print(_("written: {path}").format(path=path.relative_to(root)))
    print(_("Next: {command}").format(command=f"vigie run{project_option(root)}"))
    return ExitCode.OK


def _ask(question: str, answers: Sequence[str]) -> str | None:
    """Ask whoever is at the terminal; None where nobody is, or nobody answers."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    print(question)
    for number, one in enumerate(answers, start=1):
        print(f"   {number}  {one}")
    try:
        answer = input("> ").strip()
    except EOFError:
        return None
    if answer.isdigit() and 1 <= int(answer) <= len(answers) and answer not in answers:
        return answers[int(answer) - 1]
    return answer or None


def _bring(file: Path, folder: Path) -> Path:
    """Copy the file into the folder of raw files, unless it lies there."""
    from vigie.infer.declare import stem_of

    stem = stem_of(file)
    packed = file.name.lower().endswith(".gz")
    target = folder / f"{stem}.csv{'.gz' if packed else ''}"
    if target.exists() and filecmp.cmp(file, target, shallow=False):
        return target
    if target.exists():
        raise UsageError(
            _("Another file of that name is in the project."),
            where=str(target),
            fix=_("Move it away, or give the new one another name."),
        )
    with atomic_write(target, mode=mode_by_umask()) as temporary:
        shutil.copyfile(file, temporary)
    return target


def _write(path: Path, text: str) -> None:
    with atomic_write(path, mode=mode_by_umask()) as temporary:
        temporary.write_text(text, "utf-8")


def _point_settings(root: Path) -> Path:
    """Name the declaration in vigie.toml, which is made where there is none."""
    path = root / "vigie.toml"
    wanted = f'dataset = "{DECLARATION}"'
    if not path.exists():
        _write(path, wanted + "\n")
        return path
    lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("[", "dataset =", "dataset=", "#dataset =")):
            if line.startswith("["):
                lines[number:number] = [wanted, ""]
            else:
                lines[number] = wanted
            break
    else:
        lines.append(wanted)
    _write(path, "\n".join(lines) + "\n")
    return path


def _tell(made: Decisions, raw: Path) -> None:
    _tell_file(raw.name, made.profile, related=False)
    _tell_outcome(made)
    print(
        _("features from {count} columns; the key is {key}").format(
            count=len(made.features),
            key=made.name(made.key) if made.key else _("the row's number"),
        )
    )
    _tell_columns(made)
    for note in made.notes:
        print("   " + note)


def _tell_related(made: Decisions, tables: Sequence[Related]) -> None:
    for table in tables:
        _tell_file(table.table, table.profile, related=True)
        key = ", ".join(table.declared(table.key)) or _("the row's number")
        print("   " + _("key: {key}").format(key=key))
        for one in table.references:
            said = _("{columns} → {table}").format(
                columns=", ".join(table.declared(one.columns)), table=one.table
            )
            if one.lost:
                said += "; " + _("{count:,} rows point nowhere and are set aside").format(
                    count=one.lost
                )
            print("   " + said)
        for one in table.guesses:
            said = _("{columns} → {table}; {count:,} rows find nothing there").format(
                columns=", ".join(table.declared(one.columns)), table=one.table, count=one.lost
            )
            print("   " + said)
        clock = table.names[table.clock.place] if table.clock else table.parent_clock
        if clock is not None:
            print("   " + _("clock: {clock}").format(clock=clock))
        elif table is not tables[0]:
            said = _("no clock: where it is looked up it counts as known; its rows are not counted")
            print("   " + said)
        if table is not tables[0]:
            for note in table.notes:
                print("   " + note)
    _tell_outcome(made)
    _tell_columns(made)
    for note in tables[0].notes:
        print("   " + note)


def _tell_file(name: str, profile: FileProfile, *, related: bool) -> None:
    dialect, sniffed = profile.dialect, profile.sniffed
    said = {"\t": _("tabs"), " ": _("spaces")}.get(dialect.delimiter or "", dialect.delimiter)
    print(
        _("{file}: {rows:,} rows, {columns} columns, divided by {delimiter}, {encoding}").format(
            file=name,
            rows=profile.rows,
            columns=len(profile.columns),
            delimiter=said,
            encoding=profile.encoding,
        )
    )
    if not sniffed.header:
        said = _("no header: {why}; columns c0, c1, …").format(why=sniffed.why_header)
        print("   " + said)
    elif not related:
        print("   " + _("header: {why}").format(why=sniffed.why_header))
    markers = [marker for marker in profile.markers if marker.strip()]
    if markers:
        print("   " + _("missing: {markers}").format(markers=", ".join(map(repr, markers))))
    if dialect.decimal == ",":
        print("   " + _("numbers have a decimal comma"))
    if dialect.thousands:
        print("   " + _("thousands are parted by {sign!r}").format(sign=dialect.thousands))
    if profile.set_aside:
        print(
            "⚠️  "
            + _("{count} lines don't have the columns of the others and are set aside").format(
                count=profile.set_aside
            )
        )


def _tell_outcome(made: Decisions) -> None:
    from vigie.infer.decide import RARE_ROWS

    outcome = made.outcome
    assert outcome is not None
    column = outcome.column
    if outcome.comparison is not None:
        bad = f"{column.name} {outcome.comparison}"
        print(_("to be predicted: {bad}").format(bad=bad))
    else:
        bad = " | ".join(outcome.values)
        print(_("to be predicted: {name} = {bad}").format(name=column.name, bad=bad))
    rows = sum(count for value, count in column.values if value in outcome.values)
    if outcome.values:
        share = rows / max(1, column.known)
        print(
            "   "
            + _("{rows:,} of {known:,} rows ({share:.1%})").format(
                rows=rows, known=column.known, share=share
            )
        )
        if rows < RARE_ROWS:
            print("⚠️  " + _("so few that no figure will be worth much"))
    if column.missing:
        print(
            "   "
            + _("{count:,} rows without an outcome are scored only").format(count=column.missing)
        )


def _tell_columns(made: Decisions) -> None:
    for name, why in made.not_features.items():
        print("   " + _("not {name}: it {why}").format(name=name, why=why))
    for column in made.features:
        if column.other_formats:
            print(
                "⚠️  "
                + _("{name} could be read as {others} too; it is read as {format}").format(
                    name=column.name,
                    others=", ".join(column.other_formats),
                    format=column.format,
                )
            )
    for name, auc in made.suspects.items():
        print(
            "⚠️  "
            + _(
                "{name} alone tells the outcomes apart (AUC {auc:.3f}): was it known before? If "
                "not: --leave-out {name}"
            ).format(name=name, auc=auc)
        )
    if made.personal:
        print(
            "⚠️  "
            + _("personal, and used: {names}; to keep one out: --leave-out").format(
                names=", ".join(made.personal)
            )
        )
