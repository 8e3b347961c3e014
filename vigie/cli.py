"""The command line: thin; turns errors into text and an exit code.

Nothing heavy is imported here: ``vigie --help`` must be instant.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter

from vigie import __version__
from vigie.errors import ExitCode, VigieError
from vigie.i18n import _, language_from_environment, use_language

if TYPE_CHECKING:
    from vigie.pipeline.orchestrator import PipelineOrchestrator

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=())]
Project = Annotated[Path | None, Parameter(name="--project")]
ConfigFile = Annotated[Path | None, Parameter(name="--config")]

# Set by the guide's door, so that an edited _get_default_config there takes effect.
_orchestrator: Callable[..., PipelineOrchestrator] | None = None

app = App(
    name="vigie",
    help="Turns raw CSV exports into an honest early warning: which of these will go wrong, "
    "how sure are we, and why?",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


@app.command
def run(
    *,
    mode: str = "dev",
    steps: Names = None,
    cutoff_days: int | None = None,
    project: Project = None,
    config: ConfigFile = None,
    force: Names = None,
    explain: Flag = False,
    wait: float = 0.0,
    lang: str | None = None,
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
    lang
        en or fr (default: from the locale).
    quiet
        Show warnings and errors only; the log has everything.
    debug
        Show the traceback of an error.
    """
    from vigie.pipeline.orchestrator import PipelineOrchestrator, RunOptions

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
        command=tuple(sys.argv),
    )
    make = _orchestrator or PipelineOrchestrator
    make(options).run()
    return ExitCode.OK


@app.command
def config(
    *,
    project: Project = None,
    config: ConfigFile = None,
    lang: str | None = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Show every setting, its value and where it comes from; secrets are masked.

    Parameters
    ----------
    project
        Folder of the project.
    config
        Settings file instead of vigie.toml.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.pipeline.orchestrator import PipelineOrchestrator, RunOptions

    make = _orchestrator or PipelineOrchestrator
    settings = make(RunOptions(project=project, config=config, lang=lang)).settings()
    use_language(settings.get("lang") or language_from_environment())
    rows = settings.rows()
    width = max(len(row.key) for row in rows)
    for row in rows:
        value = row.value if len(row.value) <= 40 else f"{row.value[:39]}…"
        print(f"{row.key:<{width}}  {value:<40}  {row.origin}")
    for note in settings.notes:
        print(note, file=sys.stderr)
    return ExitCode.OK


@app.command
def sample(
    *,
    enrolments: int = 32_593,
    seed: int = 42,
    out: Path | None = None,
    project: Project = None,
    lang: str | None = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Generate OULAD-shaped data that behaves like the real one.

    Parameters
    ----------
    enrolments
        How many enrolments; 32593 is the size of the real release.
    seed
        The same seed and size give the same bytes.
    out
        Folder to write to (default: data/generated of the project).
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.dataset.sample import generate_sample
    from vigie.pipeline.console import Console
    from vigie.settings import find_project

    use_language(lang or language_from_environment())
    root = (project or find_project(Path.cwd())).resolve()
    target = out or root / "data" / "generated"
    console = Console("dev")
    with console.progress(_("generating"), 1.0) as bar:
        report = generate_sample(target, enrolments=enrolments, seed=seed, progress=bar.advance_to)
    for table, rows in report.row_counts.items():
        console.line(f"   {table:<22} {rows:>12,}")
    console.line(
        _("{enrolments:,} enrolments generated into {folder} in {seconds:.1f}s").format(
            enrolments=report.enrolments, folder=report.out, seconds=report.seconds
        )
    )
    return ExitCode.OK


@app.command
def fetch(
    dataset: str,
    *,
    project: Project = None,
    url: Names = None,
    lang: str | None = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Download a public data set into data/raw/ (there is one: oulad).

    A broken-off download goes on where it stopped when the same command is run again.

    Parameters
    ----------
    dataset
        Its name: oulad.
    project
        Folder of the project.
    url
        Other addresses to try, a mirror for instance, in this order.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.data.fetch import OULAD_URLS, fetch_oulad
    from vigie.errors import UsageError
    from vigie.pipeline.console import Console
    from vigie.settings import find_project, load_settings

    use_language(lang or language_from_environment())
    if dataset != "oulad":
        raise UsageError(
            _("There is no data set {name!r} to download.").format(name=dataset),
            fix=_("There is: oulad."),
        )
    root = (project or find_project(Path.cwd())).resolve()
    folder = root / str(load_settings(root, environ=os.environ).get("raw_dir"))
    console = Console("dev")
    with console.progress(_("downloading"), 1.0) as bar:
        report = fetch_oulad(
            folder,
            urls=tuple(url) if url else OULAD_URLS,
            progress=lambda done, total: bar.advance_to(done / total if total else 0.0),
        )
    if report.url:
        console.line(_("Downloaded and checked: {path}").format(path=report.path))
    else:
        console.line(_("Already there, and checked: {path}").format(path=report.path))
    for table, rows in report.row_counts.items():
        console.line(f"   {table:<22} {rows:>12,}")
    return ExitCode.OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of vigie and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    use_language(_language_asked(arguments))
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show an emoji shows a question mark; it must not be an error.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    debug = "--debug" in arguments
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _show(_("Error: {what}").format(what=str(error).strip()))
        _show(_("See: {command}").format(command="vigie --help"))
        return ExitCode.USAGE
    except KeyboardInterrupt as error:
        return _failed(error, debug=debug, status=ExitCode.INTERRUPTED)
    except Exception as error:
        return _failed(error, debug=debug)
    return int(result) if isinstance(result, int) else ExitCode.OK


def main_run(
    argv: Sequence[str] | None = None,
    *,
    orchestrator: Callable[..., PipelineOrchestrator] | None = None,
) -> int:
    """Run ``vigie run`` with the options of `argv`: the guide's entry point."""
    global _orchestrator  # noqa: PLW0603 - one process, one door
    _orchestrator = orchestrator
    return main(["run", *(sys.argv[1:] if argv is None else argv)])


def console_script() -> None:
    """Run ``vigie`` as an installed command."""
    sys.exit(main())


def _language_asked(arguments: Sequence[str]) -> str:
    """Return the language that the arguments ask for, before they are understood."""
    for position, argument in enumerate(arguments):
        if argument == "--lang" and arguments[position + 1 : position + 2] in (["en"], ["fr"]):
            return arguments[position + 1]
        if argument in ("--lang=en", "--lang=fr"):
            return argument[-2:]
    return language_from_environment()


def _failed(error: BaseException, *, debug: bool, status: ExitCode | None = None) -> int:
    """Show what happened, where, and what to do; log the traceback; return the exit code."""
    import logging

    logger = logging.getLogger("vigie")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.debug("traceback", exc_info=error)
    code, cause, resume = _understood(error, status)
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(cause, VigieError):
        lines = [_("❌ Error: {what}").format(what=cause.what)]
        if cause.where:
            lines.append(_("   Where: {where}").format(where=_indented(cause.where)))
        if cause.fix:
            lines.append(_("   Fix:   {fix}").format(fix=_indented(cause.fix)))
    elif code == ExitCode.INTERRUPTED:
        lines = [_("⏹️  Interrupted. Nothing is half done: run the same command to go on.")]
    else:
        lines = [
            _("❌ Unexpected error: {kind}: {what}").format(
                kind=type(cause).__name__, what=_masked(str(cause))
            ),
            _("   This is a defect of vigie; the log has the details, --debug shows them."),
        ]
    if resume:
        lines.append(_("   Resume: {command}").format(command=resume))
    for line in lines:
        _show(line)
        logger.error("%s", line.strip())
    return code


def _understood(
    error: BaseException, status: ExitCode | None
) -> tuple[ExitCode, BaseException, str | None]:
    """Return exit code, what to show and the command that resumes."""
    import shlex

    stopped_step = getattr(error, "step", None)
    if stopped_step is not None and hasattr(error, "cause"):
        again = shlex.join(["vigie", "run", *_run_arguments()])
        return error.exit_code, error.cause, again  # type: ignore[attr-defined]
    if status is not None:
        return status, error, None
    if isinstance(error, VigieError):
        return error.exit_code, error, None
    return ExitCode.FAILURE, error, None


def _run_arguments() -> list[str]:
    arguments = sys.argv[1:]
    return arguments[1:] if arguments[:1] == ["run"] else arguments


def _indented(text: str) -> str:
    return text.replace("\n", "\n          ")


def _masked(text: str) -> str:
    from vigie.pipeline.fingerprint import mask_passwords

    return mask_passwords(text)


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    console_script()
