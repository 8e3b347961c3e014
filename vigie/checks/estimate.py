"""How much disk and memory a complete run needs, from the size of the raw files.

Calibrated by two measured runs of ``vigie run --mode prod`` with the embedded server, on 33 MB and
on 464 MB (OULAD) of CSV: blocks on the disk and resident memory, at their highest.

============================  =======  ========  ==========================================
what                          33 MB    464 MB    estimate (`raw`: uncompressed CSV)
============================  =======  ========  ==========================================
Parquet, features, model,     10 MB    126 MB    20 MB + 0.35 raw
reports
database folder, load         142 MB   1,411 MB  60 MB + 3.2 raw
included
memory of vigie               472 MB   812 MB    450 MB + 0.8 raw, but 450 MB + the engine's
                                                 limit + 0.05 raw at most
memory of the server          106 MB   265 MB    100 MB + 0.4 raw, at most 700 MB
temporary folder              0        0         20 MB
============================  =======  ========  ==========================================

A run replaces what is there only when the new is whole, so all of it must be free, also where an
earlier run's results lie on the same disk.
"""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vigie.data.raw_files import RawFile

MB = 10**6
GZIP_TURN = 2**32
# No CSV of this kind is packed tighter by much: OULAD's are packed to a tenth.
GZIP_RATIO = 10
_UNITS = {"": 1, "k": 10**3, "m": MB, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes that a complete run takes; the server's are zero where it is not the embedded one."""

    files: int
    database: int
    temporary: int
    memory: int


def estimate_needs(
    raw_bytes: int, *, embedded: bool, engine_bytes: int, tables: bool = True
) -> Needs:
    """Return what a run over `raw_bytes` of uncompressed CSV needs.

    `tables` says whether they are loaded: else the server keeps the scores alone.

    Examples
    --------
    >>> estimate_needs(464 * MB, embedded=True, engine_bytes=1000 * MB).memory // MB
    1106
    """
    own = min(0.8 * raw_bytes, engine_bytes + 0.05 * raw_bytes)
    server = 100 * MB + min(0.4 * raw_bytes, 600 * MB) if embedded else 0
    return Needs(
        files=int(20 * MB + 0.35 * raw_bytes),
        database=int(60 * MB + (3.2 if tables else 0.05) * raw_bytes) if embedded else 0,
        temporary=20 * MB,
        memory=int(450 * MB + own + server),
    )


def uncompressed_bytes(files: Iterable[RawFile]) -> int:
    """Return the size of all raw files as plain CSV."""
    return sum(_uncompressed(part) for file in files for part in file.parts)


def _uncompressed(file: RawFile) -> int:
    if file.member is not None:
        with zipfile.ZipFile(file.path) as archive:
            return archive.getinfo(file.member).file_size
    size = file.path.stat().st_size
    return _gzip_content(file.path, size) if file.compressed else size


def _gzip_content(path: Path, size: int) -> int:
    """Return how much a gzip file holds: its last four bytes say it, but only modulo 4 GB.

    The largest size with that remainder that packing by a tenth allows is taken: it is exact for
    files below 400 MB, and for larger ones rather too much than too little. A stream that was put
    together from several says the size of its last one only, which the packed size corrects.
    """
    if size < 18 or path.open("rb").read(2) != b"\x1f\x8b":
        raise gzip.BadGzipFile(22, "not a gzip file", str(path))
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        said = int.from_bytes(stream.read(4), "little")
    turns = max(0, (size * GZIP_RATIO - said) // GZIP_TURN)
    return max(said + turns * GZIP_TURN, size)


def parse_bytes(text: str) -> int:
    """Return the bytes that a size such as ``1GB`` or ``900 MiB`` means.

    Examples
    --------
    >>> parse_bytes("1.5GB"), parse_bytes("2 KiB")
    (1500000000, 2048)
    """
    match = re.fullmatch(r"([\d.]+) ?([kmgt]?)(i?)b", text.strip().lower())
    if match is None:
        raise ValueError(f"no size: {text!r}")
    units = _BINARY_UNITS if match[3] else _UNITS
    return int(float(match[1]) * units[match[2]])


def shown_bytes(count: float) -> str:
    """Return a size for people, in megabytes or gigabytes.

    Examples
    --------
    >>> shown_bytes(464_367_129), shown_bytes(1.411e9)
    ('464 MB', '1.4 GB')
    """
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / MB:.0f} MB"
