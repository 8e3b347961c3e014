"""Help pages: what cyclopts knows of a command, in the reader's language and any width.

Texts are written once, in the docstrings of the commands; their paragraphs and the descriptions of
their options are the message ids (``tests.messages`` collects them).
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vigie.i18n import _, later

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

INDENT = 2
# Descriptions stand beside the options where there is room for both.
LABEL_COLUMN = 26
ROOM_FOR_TWO_COLUMNS = 64
SHORT_CHOICES = 12
# What cyclopts itself says.
TITLES = {
    "Commands": later("Commands"),
    "Parameters": later("Options"),
    "Arguments": later("Arguments"),
}
FLAGS = (later("Display this message and exit."), later("Display application version."))
PLACEHOLDERS = {
    "STR": later("TEXT"),
    "INT": later("NUMBER"),
    "FLOAT": later("NUMBER"),
    "PATH": later("PATH"),
    "CHOICE": later("NAME"),
}
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
HEADING, LABEL = "bold", "cyan"


@dataclass(frozen=True, slots=True)
class Example:
    """A command line, and the message id of what it is for."""

    command: str
    about: str


def paragraphs(function: Callable[..., Any]) -> list[str]:
    """Return what a command's docstring says before its parameters, each paragraph in one line."""
    text = inspect.cleandoc(function.__doc__ or "")
    described = re.split(r"\n\n(?=[A-Z][a-z]+\n-{3,})", text, maxsplit=1)[0]
    return [_one_line(one) for one in described.split("\n\n") if one.strip()]


class CommandHelp:
    """Lays a help page out; cyclopts calls it (``cyclopts.help.HelpFormatter``).

    Parameters
    ----------
    function
        Path of the command's function, ``"package.module:name"``; None where the text that
        cyclopts was given is all there is.
    examples
        Shown between description and options.
    """

    def __init__(self, function: str | None = None, *examples: Example) -> None:
        self.function = function
        self.examples = examples

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Show how the command is typed."""
        words = str(usage).strip().replace("COMMAND", _("COMMAND"))
        _print(console, _wrapped(_("Usage: {command}").format(command=words), console.width, 4))
        console.print()

    def render_description(
        self, console: Console, options: ConsoleOptions, description: Any
    ) -> None:
        """Show what the command does, and examples."""
        if self.function is not None:
            module, _colon, name = self.function.partition(":")
            said = paragraphs(getattr(import_module(module), name))
        else:
            text = getattr(getattr(description, "primary_renderable", None), "plain", "")
            said = [_one_line(one) for one in text.split("\n\n") if one.strip()]
        for paragraph in said:
            _print(console, _wrapped(_(paragraph), console.width))
            console.print()
        if self.examples:
            console.print(_("{title}:").format(title=_("Examples")), style=HEADING)
            for example in self.examples:
                _print(console, _example(example, console.width))
            console.print()

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Show one group of commands or options."""
        if not panel.entries:
            return
        title = str(panel.title)
        title = _(TITLES.get(title, title))
        console.print(_("{title}:").format(title=title), style=HEADING)
        rows = [(_label(entry), _about(entry)) for entry in panel.entries]
        widest = max(len(label) for label, _said in rows) + 2 * INDENT
        column = min(widest, LABEL_COLUMN) if console.width >= ROOM_FOR_TWO_COLUMNS else 0
        for label, said in rows:
            for line in _row(label, said, column, console.width):
                console.print(line, soft_wrap=True)
        console.print()


def _example(example: Example, width: int) -> list[str]:
    """Return the command as it is typed, never broken, and below it what it is for."""
    said = _wrapped(_(example.about), width - 3 * INDENT)
    return [" " * INDENT + example.command, *(" " * (3 * INDENT) + line for line in said)]


def _row(label: str, said: str, column: int, width: int) -> Iterator[Any]:
    from rich.text import Text

    indent = column or 3 * INDENT
    lines = _wrapped(said, width - indent) if said else []
    first = Text(" " * INDENT).append(label, style=LABEL)
    if lines and column >= len(label) + 2 * INDENT:
        yield first.append(" " * (column - INDENT - len(label)) + lines[0])
        lines = lines[1:]
    else:
        yield first
    for line in lines:
        yield Text(" " * indent + line)


def _label(entry: HelpEntry) -> str:
    names = [*entry.positive_shorts, *entry.positive_names, *entry.negative_names]
    if entry.positional_label:
        return entry.positional_label
    label = ", ".join(names)
    return f"{label} {_placeholder(entry)}" if entry.metavar else label


def _placeholder(entry: HelpEntry) -> str:
    shown = "|".join(entry.choices or ())
    many = "..." if entry.metavar and entry.metavar.endswith("...") else ""
    if 0 < len(shown) <= SHORT_CHOICES:
        return shown + many
    kind = (entry.metavar or "").removesuffix("...")
    return _(PLACEHOLDERS.get(kind, kind)) + many


def _about(entry: HelpEntry) -> str:
    text = getattr(getattr(entry.description, "primary_renderable", None), "plain", "")
    said = [_(_one_line(text))] if text else []
    if entry.choices and len("|".join(entry.choices)) > SHORT_CHOICES:
        said.append(f"[{', '.join(entry.choices)}]")
    if entry.default not in {None, "False", "None"}:
        said.append(_("[default: {value}]").format(value=entry.default))
    if entry.required:
        said.append(_("[required]"))
    return " ".join(said)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str, width: int, hanging: int = 0) -> list[str]:
    # No line may begin with the sign that French sets a space before.
    held = re.sub(r" (?=[:;?!»])", NO_BREAK_SPACE, text)
    lines = textwrap.wrap(
        held,
        max(20, width),
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK_SPACE, " ") for line in lines]


def _print(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
