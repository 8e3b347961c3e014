"""How a help page is laid out: paragraphs, examples, and rows of a label and what it is.

What stands here needs neither cyclopts nor Rich, which take longer to import than the first page
to show.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from vigie.i18n import _, later

INDENT = 2
# Descriptions stand beside the options where there is room for both.
LABEL_COLUMN = 26
ROOM_FOR_TWO_COLUMNS = 64
# What cyclopts itself says, and we.
TITLES = {
    "Examples": later("Examples"),
    "Commands": later("Commands"),
    "Parameters": later("Options"),
    "Arguments": later("Arguments"),
}
FLAGS = {
    "-h, --help": later("Display this message and exit."),
    "--version": later("Display application version."),
}
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
# Styles, in Rich's words.
HEADING, LABEL = "bold", "cyan"


class Example(NamedTuple):
    """A command line, and the message id of what it is for."""

    command: str
    about: str


class Piece(NamedTuple):
    """Part of a line, and how it is shown."""

    text: str
    style: str = ""


Line = tuple[Piece, ...]


def usage(words: str, width: int) -> list[Line]:
    """Return how the command is typed; `words` are in the reader's language."""
    return _plain(wrapped(_("Usage: {command}").format(command=words), width, 4))


def description(said: list[str], examples: tuple[Example, ...], width: int) -> list[Line]:
    """Return what a command does, and examples of it; an empty line after each."""
    lines: list[Line] = []
    for paragraph in said:
        lines += [*_plain(wrapped(_(paragraph), width)), ()]
    if examples:
        lines += [heading("Examples")]
        for example in examples:
            lines += _plain(_example(example, width))
        lines += [()]
    return lines


def heading(title: str) -> Line:
    """Return the line above a group; cyclopts' own titles in our words."""
    return (Piece(_("{title}:").format(title=_(TITLES.get(title, title))), HEADING),)


def rows(entries: list[tuple[str, str]], width: int) -> Iterator[Line]:
    """Yield the lines of a group: each label, and what it is beside or below it."""
    widest = max(len(label) for label, _said in entries) + 2 * INDENT
    column = min(widest, LABEL_COLUMN) if width >= ROOM_FOR_TWO_COLUMNS else 0
    for label, said in entries:
        yield from _row(label, said, column, width)


def one_line(text: str) -> str:
    """Return the text without its line breaks."""
    return " ".join(text.split())


def wrapped(text: str, width: int, hanging: int = 0) -> list[str]:
    """Return the lines of a paragraph, those after the first `hanging` cells farther in."""
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


def _plain(lines: list[str]) -> list[Line]:
    return [(Piece(line),) for line in lines]


def _example(example: Example, width: int) -> list[str]:
    """Return the command as it is typed, never broken, and below it what it is for."""
    said = wrapped(_(example.about), width - 3 * INDENT)
    return [" " * INDENT + example.command, *(" " * (3 * INDENT) + line for line in said)]


def _row(label: str, said: str, column: int, width: int) -> Iterator[Line]:
    indent = column or 3 * INDENT
    lines = wrapped(said, width - indent) if said else []
    first = (Piece(" " * INDENT), Piece(label, LABEL))
    if lines and column >= len(label) + 2 * INDENT:
        yield (*first, Piece(" " * (column - INDENT - len(label)) + lines[0]))
        lines = lines[1:]
    else:
        yield first
    yield from _plain([" " * indent + line for line in lines])
