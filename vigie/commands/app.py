"""The command line as cyclopts knows it: made of the table of commands."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from vigie import __version__
from vigie.commands.help import CommandHelp
from vigie.commands.table import ABOUT, COMMANDS, ROOT_EXAMPLES


def _make_app() -> App:
    made = App(
        name="vigie",
        help=ABOUT,
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
        help_formatter=CommandHelp(None, *ROOT_EXAMPLES),
    )
    for command in COMMANDS:
        # A group of commands is an app of its own, and has its own page.
        page = CommandHelp(command.path, *command.examples) if command.examples else None
        about: dict[str, Any] = {"help": command.summary}
        if page is not None:
            about["help_formatter"] = page
        made.command(command.path, name=command.name, **about)
    return made


app = _make_app()
