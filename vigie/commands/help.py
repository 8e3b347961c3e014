"""Help pages: what cyclopts knows of a command, in the reader's language and any width.

Texts are written once, in the docstrings of the commands; their paragraphs and the descriptions of
their options are the message ids (``tests.messages`` collects them).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vigie.commands.layout import Example, Line, description, heading, one_line, rows, usage
from vigie.i18n import _, later

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

SHORT_CHOICES = 12
PLACEHOLDERS = {
    "STR": later("TEXT"),
    "INT": later("NUMBER"),
    "FLOAT": later("NUMBER"),
    "PATH": later("PATH"),
    "CHOICE": later("NAME"),
}


def paragraphs(function: Callable[..., Any]) -> list[str]:
    """Return what a command's docstring says before its parameters, each paragraph in one line."""
    text = inspect.cleandoc(function.__doc__ or "")
    described = re.split(r"\n\n(?=[A-Z][a-z]+\n-{3,})", text, maxsplit=1)[0]
    return [one_line(one) for one in described.split("\n\n") if one.strip()]


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

    def render_usage(self, console: Console, options: ConsoleOptions, words: Any) -> None:
        """Show how the command is typed."""
        typed = str(words).strip().replace("COMMAND", _("COMMAND"))
        _print(console, [*usage(typed, console.width), ()])

    def render_description(self, console: Console, options: ConsoleOptions, text: Any) -> None:
        """Show what the command does, and examples."""
        if self.function is not None:
            module, _colon, name = self.function.partition(":")
            said = paragraphs(getattr(import_module(module), name))
        else:
            plain = getattr(getattr(text, "primary_renderable", None), "plain", "")
            said = [one_line(one) for one in plain.split("\n\n") if one.strip()]
        _print(console, description(said, self.examples, console.width))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Show one group of commands or options."""
        if not panel.entries:
            return
        entries = [(_label(entry), _about(entry)) for entry in panel.entries]
        title = heading(str(panel.title))
        _print(console, [title, *rows(entries, console.width), ()])


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
    said = [_(one_line(text))] if text else []
    if entry.choices and len("|".join(entry.choices)) > SHORT_CHOICES:
        said.append(f"[{', '.join(entry.choices)}]")
    if entry.default not in {None, "False", "None"}:
        said.append(_("[default: {value}]").format(value=entry.default))
    if entry.required:
        said.append(_("[required]"))
    return " ".join(said)


def _print(console: Console, lines: Iterable[Line]) -> None:
    from rich.text import Text

    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
