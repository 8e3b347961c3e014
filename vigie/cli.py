"""The command line: thin; turns errors into text and an exit code.

Nothing heavy is imported here: ``vigie --help`` must be instant.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from cyclopts import App, CycloptsError

from vigie import __version__
from vigie.errors import ExitCode, VigieError
from vigie.i18n import _, language_from_environment, use_language

if TYPE_CHECKING:
    from vigie.pipeline.orchestrator import PipelineOrchestrator

# Each with the module of vigie.commands that has it, which is imported when the command is typed,
# and the line that the help shows without importing it.
COMMANDS = {
    "run": (
        "run",
        "Run the pipeline: extract, transform, load, features, train, evaluate, predict.",
    ),
    "config": (
        "run",
        "Show every setting, its value and where it comes from; secrets are masked.",
    ),
    "init": ("init", "Look at a CSV file, bring it into the project and declare what it is."),
    "audit": (
        "audit",
        "Prove on the last run's data that no feature knows the future.",
    ),
    "check": ("check", "Go through the checklist before production."),
    "backup": ("backup", "Back up a mode's tables, or list the backups there are."),
    "restore": ("backup", "Put the tables of a backup in the place of the live ones."),
    "db": ("db", "See, start, stop and query the project's database."),
    "report": ("report", "Make the report of a mode's results again, and open it."),
    "runs": ("runs", "List the runs, show one, or say what changed between two."),
    "models": ("models", "List the models that were made; * marks the current one."),
    "rollback": ("models", "Make an earlier model the current one."),
    "fetch": ("data", "Download a public data set into data/raw/ (there is one: oulad)."),
    "schema": ("schema", "Print the JSON Schema of declarations, for editors."),
    "sample": ("data", "Generate OULAD-shaped data that behaves like the real one."),
}

app = App(
    name="vigie",
    help="Turns raw CSV exports into an honest early warning: which of these will go wrong, "
    "how sure are we, and why?",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


for _name, (_module, _help) in COMMANDS.items():
    app.command(f"vigie.commands.{_module}:{_name}", name=_name, help=_help)


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
    except BrokenPipeError:
        # Whoever read the output has seen enough (vigie runs | head).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        return _failed(error, debug=debug)
    return int(result) if isinstance(result, int) else ExitCode.OK


def main_run(
    argv: Sequence[str] | None = None,
    *,
    orchestrator: Callable[..., PipelineOrchestrator] | None = None,
) -> int:
    """Run ``vigie run`` with the options of `argv`: the guide's entry point."""
    from vigie.commands.run import use_door

    use_door(orchestrator)
    return main(["run", *(sys.argv[1:] if argv is None else argv)])


def console_script() -> None:
    """Run ``vigie`` as an installed command."""
    leave(main())


def leave(code: int) -> NoReturn:
    """End the process; after Ctrl-C without waiting for what libraries still do in threads."""
    if code == ExitCode.INTERRUPTED:
        import logging

        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


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
    for number, line in enumerate(lines):
        _show(line)
        # One error is one line of the log that says so.
        logger.log(logging.INFO if number else logging.ERROR, "%s", line.strip())
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
    from vigie.pipeline.runner import storage_error

    return ExitCode.FAILURE, storage_error(error) or error, None


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
