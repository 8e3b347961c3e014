"""The command line: thin; turns errors into text and an exit code.

Nothing heavy is imported here: ``vigie --help`` must be instant.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from vigie.arguments import take_option
from vigie.commands.root_page import asks_for_root_page, show_root_page
from vigie.commands.table import COMMANDS
from vigie.errors import ExitCode, VigieError
from vigie.i18n import LANGUAGES, _, language_from_environment, use_language

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vigie.pipeline.orchestrator import PipelineOrchestrator


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of vigie and return its exit code."""
    # Importing makes a million objects that stay, and hardly any garbage: looking for it after
    # every 700 new ones is a seventh of the time that the imports of a run take. A run that finds
    # nothing to do makes fewer than these.
    gc.set_threshold(1_000_000, 10, 20)
    # Else pydantic looks through every installed distribution for plugins that nobody uses here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Two libraries would start a thread for each core, and each turns in circles for a while before
    # it sleeps: 0.2 s of processor time of every run. A fit that gains by more asks for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] != ["run"] or "--json" not in arguments:
        return _carry_out(arguments)
    from vigie.commands import answer

    answer.begin()
    code = _carry_out(arguments)
    answer.give(code)
    return code


def _carry_out(arguments: Sequence[str]) -> int:
    use_language(_language_asked(arguments))
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show an emoji shows a question mark; it must not be an error.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    debug = "--debug" in arguments
    try:
        if asks_for_root_page(arguments):
            show_root_page()
            return ExitCode.OK
        return _command(arguments, debug=debug)
    except KeyboardInterrupt as error:
        return _failed(error, arguments, debug=debug, status=ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has seen enough (vigie runs | head).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        return _failed(error, arguments, debug=debug)


def _command(arguments: Sequence[str], *, debug: bool) -> int:
    """Carry the command out that the arguments name; what is wrong with them is an error."""
    from cyclopts import CycloptsError

    from vigie.commands.app import app

    try:
        result = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from vigie.commands.usage import usage_error

        return _failed(usage_error(error), arguments, debug=debug)
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
        end_now(code)
    # Else the interpreter looks through all that the libraries made for garbage, 0.7 s after a run.
    gc.freeze()
    sys.exit(code)


def end_now(code: int) -> NoReturn:
    """End the process with all that was said and logged, and wait for nothing else."""
    import logging

    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _language_asked(arguments: Sequence[str]) -> str:
    """Return the language that the arguments ask for, before they are understood."""
    language, _rest = take_option(arguments, "--lang")
    return language if language in LANGUAGES else language_from_environment()


def _failed(
    error: BaseException,
    arguments: Sequence[str],
    *,
    debug: bool,
    status: ExitCode | None = None,
) -> int:
    """Show what happened, where, and what to do; log the traceback; return the exit code."""
    import logging

    logger = logging.getLogger("vigie")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.debug("traceback", exc_info=error)
    code, cause, resume = _understood(error, status)
    if isinstance(cause, VigieError) and cause.fix:
        from vigie.typed import project_typed, with_option

        cause.fix = with_option(cause.fix, project_typed(arguments))
    _answer_failure(cause, step=getattr(error, "step", None), resume=resume)
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(cause, VigieError):
        lines = [_("❌ Error: {what}").format(what=cause.what)]
        if cause.where:
            lines.append(_beside(_("   Where: {where}"), where=cause.where))
        if cause.fix:
            lines.append(_beside(_("   Fix:   {fix}"), fix=cause.fix))
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
    _show(lines)
    for number, line in enumerate(lines):
        # One error is one line of the log that says so.
        logger.log(logging.INFO if number else logging.ERROR, "%s", line.strip())
    return code


def _answer_failure(
    cause: BaseException, *, step: str | None = None, resume: str | None = None
) -> None:
    """Keep what went wrong for the answer of ``vigie run --json``."""
    from vigie.commands import answer

    answer.failed(cause, step=step, resume=resume)


def _understood(
    error: BaseException, status: ExitCode | None
) -> tuple[ExitCode, BaseException, str | None]:
    """Return exit code, what to show and the command that resumes."""
    import shlex

    stopped_step = getattr(error, "step", None)
    if stopped_step is not None and hasattr(error, "cause"):
        again = shlex.join(["vigie", *_arguments()])
        return error.exit_code, error.cause, again  # type: ignore[attr-defined]
    if status is not None:
        return status, error, None
    if isinstance(error, VigieError):
        return error.exit_code, error, None
    from vigie.pipeline.failures import storage_error

    return ExitCode.FAILURE, storage_error(error) or error, None


def _arguments() -> list[str]:
    """Return what was typed after ``vigie``; the guide's door is ``vigie run`` without its name."""
    arguments = sys.argv[1:]
    return (
        arguments
        if arguments[:1] and arguments[0] in {one.name for one in COMMANDS}
        else ["run", *arguments]
    )


def _beside(template: str, **text: str) -> str:
    """Fill the template in; further lines of the text stand below its first."""
    [(name, value)] = text.items()
    indent = " " * template.index("{")
    return template.format(**{name: value.replace("\n", f"\n{indent}")})


def _masked(text: str) -> str:
    from vigie.pipeline.fingerprint import mask_passwords

    return mask_passwords(text)


def _show(lines: Sequence[str]) -> None:
    """Show an error; on a terminal the first line stands out, and long ones keep their place."""
    from vigie.terminal import draw, is_terminal, open_screen

    if not is_terminal(sys.stderr):
        print("\n".join(lines), file=sys.stderr, flush=True)
        return
    screen = open_screen(sys.stderr)
    for number, line in enumerate(lines):
        for part in line.split("\n"):
            draw(screen, part, "" if number else "bold red")


if __name__ == "__main__":
    console_script()
