"""The first page, of ``vigie --help``: shown from the table of commands alone.

It looks like the page that cyclopts would have had made, without importing cyclopts and Rich first
(``tests/golden/test_help.py`` compares the two).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from vigie.arguments import take_option
from vigie.commands.layout import (
    FLAGS,
    HEADING,
    LABEL,
    Line,
    Piece,
    description,
    heading,
    rows,
    usage,
)
from vigie.commands.table import ABOUT, COMMANDS, ROOT_EXAMPLES
from vigie.i18n import LANGUAGES, _
from vigie.terminal import is_terminal

WIDTH = 80
# What turns a style on; ECMA-48.
_CODES = {HEADING: "1", LABEL: "36"}
_OFF = "\x1b[0m"


def asks_for_root_page(arguments: Sequence[str]) -> bool:
    """Return whether the first page is what was asked for."""
    language, rest = take_option(arguments, "--lang")
    return rest in ([], ["--help"], ["-h"]) and language in {None, *LANGUAGES}


def show_root_page() -> None:
    """Show the page, in colour on a terminal."""
    coloured = is_terminal(sys.stdout)
    for line in root_page(_width(sys.stdout)):
        print("".join(_shown(piece, coloured=coloured) for piece in line))


def root_page(width: int) -> Iterator[Line]:
    """Yield the lines of the page."""
    yield from usage(f"vigie {_('COMMAND')}", width)
    yield ()
    yield from description([ABOUT], ROOT_EXAMPLES, width)
    yield heading("Commands")
    commands = sorted((one.name, one.summary) for one in COMMANDS)
    yield from rows([(label, _(said)) for label, said in (*commands, *FLAGS.items())], width)
    yield ()


def _shown(piece: Piece, *, coloured: bool) -> str:
    code = _CODES.get(piece.style)
    # Without colours what is bold stays so: https://no-color.org
    if not coloured or code is None or (piece.style == LABEL and os.environ.get("NO_COLOR")):
        return piece.text
    return f"\x1b[{code}m{piece.text}{_OFF}"


def _width(stream: TextIO) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH
