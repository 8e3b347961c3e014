"""``vigie backup`` and ``vigie restore``: a mode's tables, kept and brought back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vigie.commands.options import (
    ConfigFile,
    Flag,
    Language,
    Mode,
    Project,
    mode_paths,
    open_project,
    print_json,
)
from vigie.errors import ExitCode, UsageError
from vigie.i18n import _

if TYPE_CHECKING:
    from vigie.data.backup import Backup
    from vigie.settings import LoadedSettings


def backup(
    *,
    mode: Mode = "prod",
    listing: Annotated[Flag, Parameter(name="--list")] = False,
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Back up a mode's tables into backups/, or list the backups there are.

    The file is a compressed dump that pg_restore reads too; its checksum and the rows of each
    table stand beside it. It counts once its list of contents has been read back. Older ones than
    [retention] backups are removed then.

    Parameters
    ----------
    mode
        dev or prod.
    listing
        List the backups of both modes instead, the newest first.
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    json
        Print JSON.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.data.backup import backup_schema, list_backups
    from vigie.data.load import open_database

    settings = open_project(project, lang, config)
    paths = mode_paths(settings, mode)
    if listing:
        found = list_backups(paths.backups)
        _show(found, json=json)
        return ExitCode.OK
    with open_database(settings) as address:
        made = backup_schema(
            address,
            paths.schema,
            paths.backups,
            now=datetime.now(UTC),
            keep=settings.get("retention.backups"),
        )
    if json:
        print_json(made.to_json())
    else:
        rows = sum(made.row_counts.values())
        print(
            _("{path}: {rows:,} rows of {tables} tables, {size:.1f} MB, read back").format(
                path=_shown(made.path, settings.project),
                rows=rows,
                tables=len(made.row_counts),
                size=made.bytes / 1e6,
            )
        )
    return ExitCode.OK


def restore(
    file: str,
    *,
    yes: Flag = False,
    mode: Mode | None = None,
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Put the tables of a backup in the place of the live ones.

    They are restored beside the live tables first, and take their place in one transaction: a
    failure or a kill at any moment leaves the tables as they were.

    Parameters
    ----------
    file
        The backup: a path, a name in backups/, or last for the newest one of the mode.
    yes
        Don't ask before the live tables are replaced.
    mode
        dev or prod (default: the one that the backup is of).
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    json
        Print JSON.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.data.backup import has_tables, verify_backup
    from vigie.data.load import open_database
    from vigie.data.restore import restore_backup
    from vigie.pipeline.lock import ProjectLock

    settings = open_project(project, lang, config)
    path = _find(settings, file, mode)
    kept = verify_backup(path)
    paths = mode_paths(settings, mode or kept.schema.removeprefix("vigie_"))
    lock = ProjectLock(paths.state, paths.mode, command=f"vigie restore {path.name}")
    with lock.hold(), open_database(settings) as address:
        if has_tables(address, paths.schema) and not yes:
            _ask(kept, paths.schema, address.masked)
        report = restore_backup(address, path, schema=paths.schema)
    if json:
        content = {
            "file": path.name,
            "schema": report.schema,
            "row_counts": report.row_counts,
            "replaced": report.replaced,
            "notes": list(report.notes),
        }
        print_json(content)
        return ExitCode.OK
    for name, rows in report.row_counts.items():
        print(f"   {name:<28} {rows:>12,}")
    for note in report.notes:
        print(_("⚠️  Not restored: {note}").format(note=note))
    print(
        _(
            "Schema {schema} is as it was on {when}. Where that is not what the last run made, the "
            "next run loads it anew."
        ).format(schema=report.schema, when=_when(kept))
    )
    return ExitCode.OK


def _ask(kept: Backup, schema: str, address: str) -> None:
    question = _("Replace the tables of {schema} in {address} by those of {when}? [y/N] ").format(
        schema=schema, address=address, when=_when(kept)
    )
    if not sys.stdin.isatty():
        raise UsageError(
            _("There are tables that the backup would replace, and nobody to ask."),
            where=f"{address}, {schema}",
            fix=_("Add --yes to replace them."),
        )
    try:
        answer = input(question)
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes", "o", "oui"}:
        raise UsageError(_("Nothing was restored."))


def _find(settings: LoadedSettings, file: str, mode: str | None) -> Path:
    from vigie.data.backup import list_backups

    folder = mode_paths(settings, mode or "prod").backups
    if file == "last":
        schema = mode_paths(settings, mode or "prod").schema
        found = [one for one in list_backups(folder) if one.schema == schema]
        if not found:
            raise UsageError(
                _("There is no backup of {schema}.").format(schema=schema),
                where=str(folder),
                fix=_("Make one: vigie backup --mode {mode}").format(mode=mode or "prod"),
            )
        return found[0].path
    for path in (Path(file), folder / file, folder / f"{file}.dump"):
        if path.is_file() and path.suffix == ".dump":
            return path
    # What there is instead is named by the check of the file.
    return folder / Path(file).with_suffix(".dump").name


def _show(found: list[Backup], *, json: bool) -> None:
    if json:
        content = [one.to_json() for one in found]
        print_json(content)
        return
    for one in found:
        rows = f"{sum(one.row_counts.values()):,}"
        print(f"{one.path.name:<44} {_when(one):<20} {one.bytes / 1e6:>8.1f} MB {rows:>14}")
    if not found:
        print(_("There are no backups yet. Make one: vigie backup"))


def _when(one: Backup) -> str:
    from vigie.pipeline.reasons import shown_time

    return shown_time(one.made_at)


def _shown(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)
