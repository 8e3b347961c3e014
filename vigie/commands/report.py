"""``vigie report``: the page that tells the whole story, made again from what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vigie.commands.options import (
    ConfigFile,
    Flag,
    Language,
    Mode,
    Project,
    mode_paths,
    open_project,
)
from vigie.errors import ExitCode, UsageError
from vigie.i18n import _, language_from_environment

if TYPE_CHECKING:
    from pathlib import Path

    from vigie.history.runs import RecordedRun
    from vigie.pipeline.pages import ReportPages
    from vigie.settings import LoadedSettings


def report(
    run: str | None = None,
    *,
    mode: Mode | None = None,
    open: Flag = False,  # noqa: A002 - the option's name
    project: Project = None,
    config: ConfigFile = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Make the report of a mode's results again, and say where it is.

    Every run writes it anyway. Of an earlier run, the report has what the run's record has and
    those files that no later run has replaced.

    Parameters
    ----------
    run
        Of which run: its id, the beginning or the last four characters of it, last, or last~1
        (default: the mode's last results).
    mode
        dev or prod (default: dev, or the run's).
    open
        Open it in the browser.
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    settings = open_project(project, lang, config)
    language = lang or settings.get("lang") or language_from_environment()
    wanted = None if run is None else _find(settings, run, mode)
    if wanted is None:
        path = _pages(settings, mode or "dev", language).make()
    else:
        path = _pages(settings, wanted.summary.mode, language).make_of(wanted)
    print(path)
    if open:
        _open(path)
    return ExitCode.OK


def _find(settings: LoadedSettings, run: str, mode: str | None) -> RecordedRun:
    from vigie.history.runs import RunHistory

    found = RunHistory(settings.project / ".vigie").find(run)
    if mode is not None and found.summary.mode != mode:
        raise UsageError(
            _("Run {run} is of mode {mode}.").format(
                run=found.summary.run_id, mode=found.summary.mode
            ),
            where="--mode",
            fix=_("Leave --mode out, or name another run."),
        )
    return found


def _pages(settings: LoadedSettings, mode: str, language: str) -> ReportPages:
    from vigie.dataset.declaration import parse_dataset, read_declaration
    from vigie.pipeline.artifacts import HashCache
    from vigie.pipeline.pages import ReportPages

    paths = mode_paths(settings, mode)
    text, origin = read_declaration(settings.get("dataset"), settings.project)
    hashes = HashCache(paths.state / "hashes.json", settings.project)
    return ReportPages(paths, parse_dataset(text, origin), text, language, hashes)


def _open(path: Path) -> None:
    import sys
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        print(_("No browser was found: open the file yourself."), file=sys.stderr)
