"""Addresses, and the folder that stands for tables that lie elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vigie.data import stored_tables
from vigie.data.stored_tables import (
    StoredTables,
    new_tables_url,
    read_location,
    tables_url,
    visible_tables,
)
from vigie.errors import DataError
from vigie.spark.files import is_url, visible_path


@pytest.mark.parametrize("text", ["s3a://b/x", "hdfs://nn:8020/x", "file:///x", "file:/x"])
def test_addresses(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize("text", ["data/raw", "/mnt/raw", "C:\\data", "../x"])
def test_folders(text: str) -> None:
    assert not is_url(text)


def test_only_files_of_this_machine_are_visible() -> None:
    assert visible_path("file:///mnt/a%20b") == Path("/mnt/a b")
    assert visible_path("s3a://bucket/x") is None


def stored(folder: Path, listing: list[tuple[str, int, int]], monkeypatch: Any) -> StoredTables:
    monkeypatch.setattr(stored_tables, "list_files", lambda session, url: listing)
    session: Callable[[], Any] = lambda: None  # noqa: E731
    return StoredTables("clean", folder, folder.parent, None, session)


def test_tables_elsewhere_take_turns_and_are_known_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clean_dev"
    folder.mkdir()
    assert tables_url(folder) == folder.as_uri()
    assert new_tables_url(folder, folder, None) == folder.as_uri()
    first = new_tables_url(folder, folder, "s3a://b/vigie/")
    assert first == "s3a://b/vigie/clean_dev/a"
    (folder / "location.json").write_text(json.dumps({"url": first, "files": [["x", 3, 7]]}))
    assert read_location(folder) == {"url": first, "files": [["x", 3, 7]]}
    assert new_tables_url(folder, folder, "s3a://b/vigie").endswith("/b")
    whole = stored(folder, [("x", 3, 7)], monkeypatch).state()
    assert whole is not None
    assert stored(folder, [("x", 3, 7), ("y", 1, 1)], monkeypatch).state() not in {None, whole}
    assert stored(folder, [("x", 4, 7)], monkeypatch).state() is None
    assert stored(folder, [], monkeypatch).state() is None
    with pytest.raises(DataError, match="only Spark does"):
        visible_tables(folder)
