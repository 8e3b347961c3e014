"""Text on a terminal: as wide as its window, in colour where colour is wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# How much farther in a line goes on that is too long for the window.
HANGING = 2
LEAST_WIDTH = 10


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person looks at it live, on something that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def open_screen(stream: TextIO) -> Console:
    """Return what draws on a terminal: Rich knows its width, and heeds NO_COLOR."""
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)


def draw(screen: Console, text: str, style: str = "", hanging: int = HANGING) -> None:
    """Show a line; what is too long goes on below, `hanging` cells farther in."""
    from rich.text import Text

    body = text.lstrip(" ")
    indent = len(text) - len(body)
    drawn = Text(body, style=style)
    if indent + drawn.cell_len <= screen.width:
        screen.print(Text(" " * indent) + drawn)
        return
    width = max(LEAST_WIDTH, screen.width - indent - hanging)
    for number, part in enumerate(drawn.wrap(screen, width)):
        part.rstrip()
        screen.print(Text(" " * (indent + (hanging if number else 0))) + part)
