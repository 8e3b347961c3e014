"""``vigie run`` and ``vigie config``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from vigie.commands import answer
from vigie.commands.options import (
    Checks,
    ConfigFile,
    Flag,
    Language,
    Mode,
    Project,
    Steps,
    print_json,
)
from vigie.errors import ExitCode
from vigie.i18n import language_from_environment, use_language

if TYPE_CHECKING:
    from vigie.pipeline.orchestrator import PipelineOrchestrator

# Set by the guide's door, so that an edited _get_default_config there takes effect.
_door: Callable[..., PipelineOrchestrator] | None = None


def use_door(orchestrator: Callable[..., PipelineOrchestrator] | None) -> None:
    """Make ``run`` and ``config`` use this orchestrator in place of vigie's own."""
    global _door  # noqa: PLW0603 - one process, one door
    _door = orchestrator


def run(
    *,
    mode: Mode = "dev",
    steps: Steps = None,
    cutoff_days: int | None = None,
    project: Project = None,
    config: ConfigFile = None,
    force: Steps = None,
    explain: Flag = False,
    wait: float = 0.0,
    skip_check: Checks = None,
    accept: Flag = False,
    json: Flag = False,
    lang: Language = None,
    quiet: Flag = False,
    debug: Flag = False,
) -> int:
    """Run the pipeline: extract, transform, load, features, train, evaluate, predict.

    What has not changed since the last run is skipped. Running the same command again resumes
    after a failure.

    Parameters
    ----------
    mode
        dev: a quick run on a sample; prod: everything.
    steps
        Only these steps, in pipeline order whatever the order typed.
    cutoff_days
        The day at which everybody is looked at (default 180).
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    force
        Run these steps even if nothing changed; without a name, all that are asked for.
    explain
        Show what would run and why, and do nothing.
    wait
        Wait so many seconds for another run of the same mode to end.
    skip_check
        Leave out these checks before production (prod goes through them first); it is recorded.
    accept
        Train, and make the new model the current one even if it is worse; it is recorded.
    json
        Print what it came to as one line of JSON; everything for people goes to standard error.
    lang
        en or fr (default: from the locale).
    quiet
        Show warnings and errors only; the log has everything.
    debug
        Show the traceback of an error.
    """
    from vigie.pipeline.options import RunOptions
    from vigie.pipeline.orchestrator import PipelineOrchestrator

    options = RunOptions(
        mode=mode,
        steps=None if steps is None else tuple(steps),
        cutoff_days=cutoff_days,
        project=project,
        config=config,
        force=None if force is None else tuple(force),
        explain=explain,
        lang=lang,
        quiet=quiet,
        debug=debug,
        wait_seconds=wait,
        skip_check=tuple(skip_check or ()),
        accept=accept,
        answer=json,
        command=tuple(sys.argv),
    )
    make = _door or PipelineOrchestrator
    orchestrator = make(options)
    if json:
        answer.watch(orchestrator)
    orchestrator.run()
    return ExitCode.OK


def config(
    *,
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Show every setting, its value and where it comes from; secrets are masked.

    Parameters
    ----------
    project
        Folder of the project.
    config
        Settings file instead of vigie.toml.
    json
        Print JSON.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.pipeline.options import RunOptions
    from vigie.pipeline.orchestrator import PipelineOrchestrator

    make = _door or PipelineOrchestrator
    settings = make(RunOptions(project=project, config=config, lang=lang)).settings()
    use_language(settings.get("lang") or language_from_environment())
    rows = settings.rows()
    if json:
        shown = {row.key: {"value": row.value, "origin": str(row.origin)} for row in rows}
        print_json(shown)
        return ExitCode.OK
    width = max(len(row.key) for row in rows)
    for row in rows:
        value = row.value if len(row.value) <= 40 else f"{row.value[:39]}…"
        print(f"{row.key:<{width}}  {value:<40}  {row.origin}")
    for note in settings.notes:
        print(note, file=sys.stderr)
    return ExitCode.OK
