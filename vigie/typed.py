"""What was typed, read before it is understood, and what messages say to type next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# Those that work on a project; `vigie schema` and `vigie completion` don't.
PROJECT_COMMANDS = (
    "run",
    "config",
    "init",
    "audit",
    "sweep",
    "compare",
    "check",
    "backup",
    "restore",
    "db",
    "report",
    "runs",
    "models",
    "rollback",
    "fetch",
    "sample",
)
# With the word that a group of commands has after its own. One in back quotes is talked about.
_COMMAND = re.compile(
    rf"(?<![\w`.-])vigie (?:{'|'.join(PROJECT_COMMANDS)})\b"
    r"(?: (?:status|start|stop|shell|url|show|diff)\b)?"
)


def take_option(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Return the first value of an option, and the arguments without it; what follows -- is kept.

    >>> take_option(["run", "--lang", "fr", "--quiet"], "--lang")
    ('fr', ['run', '--quiet'])
    """
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2], [*arguments[:place], *arguments[place + 1 :]]
        if argument == name and place + 1 < len(arguments):
            return arguments[place + 1], [*arguments[:place], *arguments[place + 2 :]]
    return None, list(arguments)


def project_typed(arguments: Sequence[str]) -> str:
    """Return ``--project`` and the folder as the arguments name it; nothing where they don't."""
    folder, _rest = take_option(arguments, "--project")
    return "" if folder is None else f" --project {shlex.quote(folder)}"


def with_option(message: str, option: str) -> str:
    """Return the message with `option` in each command that it names.

    It stands right after the command's name, since options may stand in any order.

    Parameters
    ----------
    option
        Such as `` --project students``, with the space before it; may be empty.
    """
    return _COMMAND.sub(lambda command: command[0] + option, message)
