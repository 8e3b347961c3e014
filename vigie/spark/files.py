"""Files as Spark sees them: addresses, and what lies there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|file:/")


def is_url(text: str) -> bool:
    """Whether a setting names an address and not a folder of this machine.

    >>> is_url("s3a://bucket/raw"), is_url("data/raw")
    (True, False)
    """
    return _REMOTE.match(text) is not None


def url_of(place: Path | str) -> str:
    """Return the address of a folder or file."""
    return place if isinstance(place, str) else place.absolute().as_uri()


def parquet_url(folder: str, name: str) -> str:
    """Return the address of a table in a folder of tables."""
    return f"{folder.rstrip('/')}/{name}.parquet"


def visible_path(url: str) -> Path | None:
    """Return where this machine sees an address; None where it doesn't.

    >>> visible_path("s3a://bucket/vigie")
    """
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        return None
    return Path(unquote(parts.path))


def list_files(session: Any, url: str) -> list[tuple[str, int, int]]:
    """Return address, size in bytes and time of change (µs since 1970) of all files below `url`.

    Through Spark's own reader, which knows every file system that the cluster knows, behind a
    Connect server too. Contents are not read.
    """
    from pyspark.errors import AnalysisException

    reader = session.read.format("binaryFile").option("recursiveFileLookup", "true")
    try:
        found = reader.load(url)
        rows = found.selectExpr("path", "length", "unix_micros(modificationTime)").collect()
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return []
        raise
    return sorted((str(row[0]), int(row[1]), int(row[2])) for row in rows)
