"""``vigie check``: the checklist before production, answered."""

from __future__ import annotations

from vigie.commands.options import Checks, ConfigFile, Flag, Language, Mode, Project, print_json
from vigie.errors import ExitCode


def check(
    *,
    mode: Mode = "prod",
    cutoff_days: int | None = None,
    skip_check: Checks = None,
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    lang: Language = None,
    debug: Flag = False,
) -> int:
    """Go through the checklist before production; a prod run does the same first.

    Each line is pass, warn or fail, with what mends it. Nothing is changed, and no server is
    started. The exit code is 7 where one fails.

    Parameters
    ----------
    mode
        dev or prod: the mode that is about to run.
    cutoff_days
        The cut-off that it is about to run with (default 180).
    skip_check
        Leave these checks out.
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
    from vigie.checks.check import as_json, render_text, worst
    from vigie.pipeline.options import RunOptions
    from vigie.pipeline.orchestrator import PipelineOrchestrator
    from vigie.verdict import Verdict

    options = RunOptions(
        mode=mode,
        cutoff_days=cutoff_days,
        project=project,
        config=config,
        lang=lang,
        debug=debug,
        skip_check=tuple(skip_check or ()),
    )
    findings = PipelineOrchestrator(options).check()
    if json:
        print_json(as_json(findings))
    else:
        print(render_text(findings))
    return ExitCode.CHECK if worst(findings) == Verdict.FAIL else ExitCode.OK
