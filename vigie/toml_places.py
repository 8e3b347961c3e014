"""The line at which each key and each element of a TOML text stands.

``tomllib`` gives values without places, and no parser that keeps them is light enough to read the
settings at every start. The text is known to be valid when it is looked at here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise

Place = tuple[str | int, ...]

_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")
_BLANK = re.compile(r"(?:\s+|#[^\n]*)+")
_STRING = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*'""",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def toml_places(text: str) -> dict[Place, int]:
    r"""Return the line, counted from 1, of each key, table and element of an array in `text`.

    Examples
    --------
    >>> toml_places("seed = 1\n[[features]]\nname = 'a'")
    {('seed',): 1, ('features', 0): 2, ('features', 0, 'name'): 3}
    """
    return _Scanner(text).places()


def line_of(places: Mapping[Place, int], place: Place) -> int | None:
    """Return the line of `place`, or of the nearest thing that it is in or that is in it."""
    while place:
        if place in places:
            return places[place]
        below = [line for one, line in places.items() if one[: len(place)] == place]
        if below:
            return min(below)
        place = place[:-1]
    return None


class _Scanner:
    """One pass over a text that is valid TOML."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.found: dict[Place, int] = {}
        # How many elements each array of tables has so far.
        self.counts: dict[Place, int] = {}

    def places(self) -> dict[Place, int]:
        table: Place = ()
        while self._skip_blank():
            start = self.position
            if self.text.startswith("[", start):
                table = self._header()
                self._add(table, start)
            else:
                place = table + self._key()
                self._add(place, start)
                self.position += 1  # the equals sign
                self._value(place)
        line_ends = [-1, *(found.start() for found in re.finditer("\n", self.text))]
        return self._as_lines(line_ends)

    def _as_lines(self, line_ends: list[int]) -> dict[Place, int]:
        lines: dict[Place, int] = {}
        left = sorted(self.found.items(), key=lambda item: item[1])
        number, bounds = 0, [*line_ends, len(self.text) + 1]
        for line, (_start, end) in enumerate(pairwise(bounds), start=1):
            while number < len(left) and left[number][1] <= end:
                lines[left[number][0]] = line
                number += 1
        return lines

    def _add(self, place: Place, start: int) -> None:
        self.found.setdefault(place, start)

    def _skip_blank(self) -> bool:
        blank = _BLANK.match(self.text, self.position)
        if blank:
            self.position = blank.end()
        return self.position < len(self.text)

    def _header(self) -> Place:
        is_array = self.text.startswith("[[", self.position)
        self.position += 1 + is_array
        parts = self._key()
        self.position += 1 + is_array
        place: Place = ()
        for number, part in enumerate(parts, start=1):
            place += (part,)
            if is_array and number == len(parts):
                self.counts[place] = self.counts.get(place, 0) + 1
            if place in self.counts:
                place += (self.counts[place] - 1,)
        return place

    def _key(self) -> Place:
        parts: list[str] = []
        while True:
            found = _KEY.match(self.text, self.position)
            if found is None:
                # Not reached in a valid text; a scan must end all the same.
                self.position = len(self.text)
                return tuple(parts)
            self.position = found.end()
            name = found[1]
            parts.append(name[1:-1] if name[0] in "\"'" else name)
            if not self.text.startswith(".", self.position):
                return tuple(parts)
            self.position += 1

    def _value(self, place: Place) -> None:
        self._skip_blank()
        opening = self.text[self.position : self.position + 1]
        if opening == "[":
            self._list(place, "]")
        elif opening == "{":
            self._list(place, "}")
        else:
            form = _STRING if opening in ('"', "'") else _SCALAR
            found = form.match(self.text, self.position)
            self.position = found.end() if found else len(self.text)

    def _list(self, place: Place, closing: str) -> None:
        """Read an array or an inline table."""
        self.position += 1
        number = 0
        while self._skip_blank() and not self.text.startswith(closing, self.position):
            start = self.position
            if self.text.startswith(",", start):
                self.position += 1
                continue
            if closing == "]":
                inner: Place = (*place, number)
                number += 1
            else:
                inner = place + self._key()
                self.position += 1
            self._add(inner, start)
            self._value(inner)
        self.position += 1


def syntax_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[str, int, int]:
    """Return reason, line and column of an error, which tomllib gives in its message only."""
    message = str(error)
    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    reason = re.sub(r" \(at [^()]*\)$", "", message)
    if found is not None:
        return reason, int(found[1]), int(found[2])
    return reason, text.count("\n") + 1, len(text) - text.rfind("\n")
