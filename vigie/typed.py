"""Commands that messages name, as they have to be typed from where the reader is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from vigie.arguments import take_option

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
