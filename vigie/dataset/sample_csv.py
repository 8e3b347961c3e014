"""Writes columns as the official release does: every field quoted, CRLF, missing as ``""``."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

# An eighth of the size; level 6 takes five times as long for a tenth.
_GZIP_LEVEL = 1


class CsvWriter:
    """Appends rows to an open file; the header goes first."""

    def __init__(self, opened: BinaryIO, columns: Sequence[str]) -> None:
        self.opened = opened
        self.rows = 0
        opened.write(('"' + '","'.join(columns) + '"\r\n').encode())

    def write(self, columns: Sequence[Any]) -> None:
        """Append rows given as columns (sequences, NumPy or Arrow arrays; None is missing)."""
        arrays = [_texts(column) for column in columns]
        count = len(arrays[0])
        if not count:
            return
        fields = pc.binary_join_element_wise(
            *arrays, '","', null_handling="replace", null_replacement=""
        )
        lines = pc.binary_join_element_wise('"', fields, '"\r\n', "")
        # The values of a text array lie one after the other: that is the file.
        for chunk in lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]:
            self.opened.write(chunk.buffers()[2])
        self.rows += count


def _texts(column: Any) -> pa.Array:
    array = column if isinstance(column, pa.Array) else pa.array(column)
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def packing(opened: BinaryIO) -> BinaryIO:
    """Return what writes to `opened` as a gzip stream, which closing it ends.

    Without name and time in it: the same rows give the same bytes.
    """
    return cast("BinaryIO", gzip.GzipFile("", "wb", _GZIP_LEVEL, fileobj=opened, mtime=0))
