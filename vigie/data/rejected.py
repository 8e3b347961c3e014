"""Rows set aside: as many as a file has, with no more of them in memory than are looked at."""

from __future__ import annotations

import csv
import json
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vigie.spreadsheet import harmless_text

# Most files have few of them or none: those need no file of their own.
_IN_MEMORY = 1 << 20


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row set aside: its line in the file (the header is line 1), why, and its text."""

    line: int
    reason: str
    text: str


class RejectedRows:
    """The rows set aside of one file, in the file's order; may be gone through again and again.

    Beyond a megabyte they wait in an unnamed file, which is gone with this object or after
    ``close``; `first` and their number remain.

    Parameters
    ----------
    rows
        Gone through once, at once.
    folder
        Where the unnamed file is; None takes the system's folder for temporary files.
    """

    __slots__ = ("__weakref__", "_above", "_count", "_first", "_waiting")

    def __init__(self, rows: Iterable[Rejected] = (), folder: Path | None = None) -> None:
        self._count = 0
        self._above = 0
        self._first: Rejected | None = None
        waiting = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            max_size=_IN_MEMORY, dir=None if folder is None else str(folder)
        )
        self._waiting = waiting
        weakref.finalize(self, waiting.close)
        for row in rows:
            self._first = self._first or row
            waiting.write(json.dumps([row.line, row.reason, row.text]).encode() + b"\n")
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Rejected]:
        self._waiting.seek(0)
        for line in self._waiting:
            number, reason, text = json.loads(line)
            yield Rejected(number + self._above, reason, text)

    @property
    def first(self) -> Rejected:
        """The first of them.

        Raises
        ------
        LookupError
            When there is none.
        """
        if self._first is None:
            raise LookupError
        return replace(self._first, line=self._first.line + self._above)

    def move_down(self, lines: int) -> None:
        """Count the lines that stood above what was read."""
        self._above += lines

    def close(self) -> None:
        """Let go of the rows; `first` and their number remain."""
        self._waiting.close()


def write_rejected(path: Path, where: str, rejected: RejectedRows) -> None:
    """Add the rows set aside to a CSV: file, line, reason and the row as it stood.

    A row that a spreadsheet would run has an apostrophe before it. Where there is none, no file is
    made.
    """
    if not rejected:
        return
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        if not opened.tell():
            writer.writerow(["file", "line", "reason", "text"])
        writer.writerows([where, one.line, one.reason, harmless_text(one.text)] for one in rejected)
