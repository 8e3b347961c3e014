"""Tables that live for the length of a step: views, and results that the cluster keeps."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

KEPT = "vigie_kept"


def read_view(session: Any, url: str, name: str) -> Any:
    """Call the Parquet files below `url` by a name; return them as a frame."""
    frame = session.read.parquet(url)
    frame.createOrReplaceTempView(name)
    return frame


def keep(session: Any, frame: Any, name: str) -> None:
    """Call a frame by a name; it is computed once, where it is first needed, and kept."""
    frame.createOrReplaceTempView(name)
    session.sql(f"CACHE LAZY TABLE `{name}`")


def drop_views(session: Any) -> None:
    """Let go all views of the session, and what the cluster keeps for them."""
    with suppress(Exception):
        for table in session.catalog.listTables():
            if table.isTemporary:
                session.sql(f"UNCACHE TABLE IF EXISTS `{table.name}`")
                session.catalog.dropTempView(table.name)
