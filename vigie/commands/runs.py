"""``vigie runs``: which runs there were, what one did, and what changed between two."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from vigie.commands.help import CommandHelp
from vigie.commands.layout import Example
from vigie.commands.options import (
    Flag,
    Language,
    Mode,
    Project,
    open_project,
    print_json,
    refuse_unknown_mode,
)
from vigie.errors import ExitCode, UsageError
from vigie.i18n import _, language_from_environment, later

if TYPE_CHECKING:
    from vigie.history.diff import RunDiff
    from vigie.history.runs import RecordedRun, RunHistory, RunSummary, StepOfRun

_HERE = "vigie.commands.runs"
runs = App(
    name="runs",
    help_formatter=CommandHelp(
        f"{_HERE}:list_all",
        Example("vigie runs", later("the last twenty")),
        Example("vigie runs --mode prod --last 5", later("fewer")),
        Example("vigie runs diff --help", later("all about one of the commands")),
    ),
)
DIGEST_CHARACTERS = 12
SHOWN_CHARACTERS = 30
COLUMNS = 100
# Times differ by themselves: less than this says nothing.
SECONDS_THAT_MATTER = 0.1


@runs.default
def list_all(
    *,
    mode: Mode | None = None,
    last: int = 20,
    html: Flag = False,
    json: Flag = False,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """List the runs, newest first.

    Parameters
    ----------
    mode
        Only the runs of dev or of prod.
    last
        How many at most.
    html
        Write reports/runs.html, a page with all runs and the AUC over time, and say where it is.
    json
        Print JSON.
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    if last < 1:
        raise UsageError(_("--last needs a number from 1 on."), where="--last")
    history = _history(project, lang)
    if mode is not None:
        refuse_unknown_mode(mode)
    if html:
        return _write_page(project, lang, mode)
    found = [run.summary for run in history.runs(mode=mode, last=last)]
    if json:
        print_json([one.to_record() for one in found])
    else:
        _print_lines(_table(found))
    return ExitCode.OK


@runs.command(
    help_formatter=CommandHelp(
        f"{_HERE}:show",
        Example("vigie runs show", later("the last one")),
        Example("vigie runs show last~1 --json", later("the one before, for a program")),
    )
)
def show(
    run: str = "last",
    *,
    json: Flag = False,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Show what a run was told, did and brought.

    Parameters
    ----------
    run
        Its id, the beginning or the last four characters of it, last, or last~1 (the one before).
    json
        Print the whole record as JSON.
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    found = _history(project, lang).find(run)
    if json:
        print_json({"summary": found.summary.to_record(), "record": found.record})
    else:
        _print_lines(_described(found))
    return ExitCode.OK


@runs.command(
    help_formatter=CommandHelp(
        f"{_HERE}:diff",
        Example("vigie runs diff", later("from the last but one to the last")),
        Example("vigie runs diff last~5 last", later("from five runs before the last")),
    )
)
def diff(
    a: str = "last~1",
    b: str = "last",
    *,
    json: Flag = False,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Show what changed from run A to run B: settings, data, code, libraries, rows, metrics.

    Where a run skipped a step, the earlier result that it used is compared.

    Parameters
    ----------
    a
        The earlier run, named as for show.
    b
        The later run.
    json
        Print JSON.
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.history.diff import diff_runs

    history = _history(project, lang)
    found = diff_runs(history.find(a), history.find(b))
    if json:
        print_json(found.to_record())
    else:
        _print_lines(_compared(found))
    return ExitCode.OK


def _write_page(project: Path | None, lang: str | None, mode: str | None) -> int:
    from vigie.pipeline.pages import make_runs_page

    settings = open_project(project, lang)
    language = lang or settings.get("lang") or language_from_environment()
    print(make_runs_page(settings.project, language, mode=mode))
    return ExitCode.OK


def _history(project: Path | None, lang: str | None) -> RunHistory:
    from vigie.history.runs import RunHistory

    return RunHistory(open_project(project, lang).project / ".vigie")


# --- list ------------------------------------------------------------------------------------


def _table(found: list[RunSummary]) -> Iterator[str]:
    if not found:
        yield _("No run is recorded yet.")
        return
    shape = "{:<25}  {:<4}  {:<11}  {:>9}  {:<8}  {:>6}  {:<15}  {:>4}"
    heads = (_("RUN"), _("MODE"), _("STATUS"), _("SECONDS"), _("STEPS"), _("AUC"), _("MODEL"))
    yield shape.format(*heads, _("WARN"))
    for one in found:
        yield shape.format(
            one.run_id,
            one.mode,
            _status(one.status),
            _seconds(one.seconds),
            _steps(one),
            "–" if one.auc is None else f"{one.auc:.3f}",
            one.model_version or "–",
            one.warning_count or "–",
        )


def _status(status: str) -> str:
    words = {
        "success": _("success"),
        "failed": _("failed"),
        "interrupted": _("interrupted"),
        "killed": _("killed"),
        "running": _("running"),
        "skipped": _("skipped"),
    }
    return words.get(status, status)


def _steps(one: RunSummary) -> str:
    """Return how many steps ran of those that the run came to."""
    failed = len(one.failed)
    known = len(one.ran) + len(one.skipped) + failed
    return (f"{len(one.ran)}/{known}" if known else "–") + (f" ✗{failed}" if failed else "")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


# --- show ------------------------------------------------------------------------------------


def _described(run: RecordedRun) -> Iterator[str]:
    one, record = run.summary, run.record
    git = "–" if one.git_commit is None else one.git_commit[:DIGEST_CHARACTERS]
    if one.git_dirty:
        git += " " + _("(with changes)")
    pairs = (
        (_("run"), one.run_id),
        (_("mode"), one.mode),
        (_("status"), _status(one.status)),
        (_("started"), one.started),
        (_("seconds"), _seconds(one.seconds)),
        (_("command"), record.get("command") or "–"),
        (_("model"), one.model_version or "–"),
        (_("git commit"), git),
        (_("error"), record.get("error")),
    )
    for label, value in pairs:
        if value:
            yield from _wrapped(f"{label:<12} {value}", 13)
    yield from _section(_("STEPS"), [line for step in run.steps for line in _step_lines(step)])
    yield from _section(_("METRICS"), [f"{k:<20} {v:.3f}" for k, v in run.metrics.items()])
    yield from _section(
        _("SETTINGS THAT ARE NOT THE DEFAULT"),
        [
            f"{key} = {value}   ({origin})"
            for key, (value, origin) in (record.get("settings") or {}).items()
            if origin != "default"
        ],
    )
    libraries = record.get("libraries") or {}
    yield from _section(_("LIBRARIES"), [f"{k:<20} {v or '–'}" for k, v in libraries.items()])
    warnings = [f"{one.get('step')}: {one.get('message')}" for one in record.get("warnings") or ()]
    yield from _section(_("WARNINGS"), warnings)
    yield from _section(_("NOTES"), list(record.get("notes") or ()))


def _step_lines(step: StepOfRun) -> list[str]:
    rows = "" if step.row_count is None else _("{rows} rows").format(rows=f"{step.row_count:,}")
    status = _("not ended") if step.status is None else _status(step.status)
    if step.action == "blocked":
        status = _("blocked")
    line = f"{step.name:<10} {status:<12} {_seconds(step.seconds):>9}  {rows:>20}"
    return [line, *([f"   {step.error}"] if step.error else [])]


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        for line in lines:
            yield from _wrapped(f"   {line}", 6)


def _wrapped(text: str, indent: int) -> list[str]:
    """Return lines of at most `COLUMNS`; what has no spaces (a digest, a path) stays whole."""
    return textwrap.wrap(
        text,
        COLUMNS,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [""]


# --- diff ------------------------------------------------------------------------------------


def _compared(found: RunDiff) -> Iterator[str]:
    for label, one in (("A", found.a), ("B", found.b)):
        yield f"{label}: {one.run_id}  {one.mode}  {_status(one.status)}  {one.started[:19]}Z"
    sections = (
        (
            _("SETTINGS"),
            [
                f"{_arrow(c.key, c.a, c.b)}   ({c.origin_a or '–'} → {c.origin_b or '–'})"
                for c in found.settings
            ],
        ),
        (_("DECLARATION"), [_arrow(c.key, c.a, c.b) for c in found.declaration]),
        (_("DATA"), _data_lines(found)),
        (_("CODE"), [_arrow(c.key, _digest(c.a), _digest(c.b)) for c in found.code]),
        (_("GIT"), [_arrow(c.key, _digest(c.a), _digest(c.b)) for c in found.git]),
        (_("LIBRARIES"), [_arrow(c.key, c.a, c.b) for c in found.libraries]),
        (_("ROWS"), [_arrow(c.key, _count(c.a), _count(c.b)) for c in found.rows]),
        (_("METRICS"), [_arrow(c.key, _metric(c.a), _metric(c.b)) for c in found.metrics]),
        (
            _("SECONDS"),
            [
                _arrow(c.key, _seconds(c.a), _seconds(c.b))
                for c in found.seconds
                if abs((c.a or 0.0) - (c.b or 0.0)) >= SECONDS_THAT_MATTER
            ],
        ),
        (_("WARNINGS ONLY IN A"), list(found.warnings_a)),
        (_("WARNINGS ONLY IN B"), list(found.warnings_b)),
    )
    if not any(lines for _title, lines in sections):
        yield ""
        yield _("Nothing changed.")
    for title, lines in sections:
        yield from _section(title, lines)


def _data_lines(found: RunDiff) -> list[str]:
    """Return a line for each artifact, however many steps read it."""
    lines = (
        _arrow(change.key.partition(".")[2], _digest(change.a), _digest(change.b))
        for change in found.inputs
    )
    return list(dict.fromkeys(lines))


def _arrow(key: str, a: Any, b: Any) -> str:
    return f"{key}: {_shown(a)} → {_shown(b)}"


def _shown(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _digest(value: Any) -> Any:
    return value[:DIGEST_CHARACTERS] if isinstance(value, str) else value


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _metric(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value


# --- printing --------------------------------------------------------------------------------


def _print_lines(lines: Iterator[str]) -> None:
    for line in lines:
        print(line.rstrip())
