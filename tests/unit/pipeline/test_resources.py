"""The database is opened and closed beside other work."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vigie.data import load
from vigie.errors import DatabaseError
from vigie.pipeline.interrupt import heed
from vigie.pipeline.resources import Resources

SECONDS = 20


class Database:
    """One that opens when it is let, and keeps what happened."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.closing = threading.Event()
        self.let_close = threading.Event()
        self.let_close.set()
        self.events: list[str] = []
        self.failure: Exception | None = None

    @contextmanager
    def open(self, _settings: object) -> Iterator[str]:
        assert self.let.wait(SECONDS)
        if self.failure is not None:
            raise self.failure
        self.events.append("open")
        yield "address"
        self.closing.set()
        assert self.let_close.wait(SECONDS)
        self.events.append("closed")


@pytest.fixture
def database(monkeypatch) -> Database:
    made = Database()
    monkeypatch.setattr(load, "open_database", made.open)
    return made


def resources(stack: ExitStack, *, configured: bool = False, threads: int = 2) -> Resources:
    settings: Any = SimpleNamespace(
        database_configured=configured, get=lambda name: {"engine.threads": threads}[name]
    )
    paths: Any = SimpleNamespace()
    return Resources(settings, paths, databases=stack, held=stack)


def test_the_embedded_one_opens_beside_and_is_waited_for(database):
    with ExitStack() as stack:
        found = resources(stack)
        found.begin_database()
        found.begin_database()
        assert database.events == []
        assert found.opened is None
        database.let.set()
        assert found.address() == "address"
        assert found.opened == "address"
    assert database.events == ["open", "closed"]


@pytest.mark.parametrize("how", [{"configured": True}, {"threads": 1}])
def test_one_of_peoples_own_is_seen_at_once_and_so_is_any_on_one_core(database, how):
    database.let.set()
    with ExitStack() as stack:
        found = resources(stack, **how)
        found.begin_database()
        assert found.opened == "address"


def test_what_the_opening_imports_is_imported_before_it_begins():
    """Else the load imports the same at the same time, and sees half of it."""
    program = """
import sys
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from vigie.data import load
from vigie.pipeline.resources import Resources
assert "psycopg" not in sys.modules
@contextmanager
def opened(_settings):
    yield "psycopg" in sys.modules and "psutil" in sys.modules
load.open_database = opened
settings = SimpleNamespace(database_configured=False, get=lambda _name: 2)
with ExitStack() as stack:
    resources = Resources(settings, None, databases=stack, held=stack)
    resources.begin_database()
    assert resources.address() is True
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_what_nobody_asked_for_is_closed_too(database):
    with ExitStack() as stack:
        resources(stack).begin_database()
        database.let.set()
    assert database.events == ["open", "closed"]


def test_a_failure_is_told_to_who_asks_and_only_then(database):
    database.failure = DatabaseError("it doesn't start")
    database.let.set()
    with ExitStack() as stack:
        found = resources(stack)
        found.begin_database()
        for _time in range(2):
            with pytest.raises(DatabaseError, match="doesn't start"):
                found.address()
    with ExitStack() as stack:
        resources(stack).begin_database()
    assert database.events == []


def test_one_that_is_still_being_opened_is_given_up(database, monkeypatch):
    """A server that recovers from a crash may take minutes, and somebody has had enough."""

    @contextmanager
    def recovering(_settings: object) -> Iterator[str]:
        while not database.let.wait(0.05):
            heed()
        raise AssertionError("nobody stopped it")
        yield

    monkeypatch.setattr(load, "open_database", recovering)
    with ExitStack() as stack:
        resources(stack).begin_database()


def test_it_closes_beside_what_comes_last(database):
    database.let.set()
    database.let_close.clear()
    with ExitStack() as stack:
        found = resources(stack)
        found.begin_to_close_database()
        found.address()
        found.begin_to_close_database()
        assert database.closing.wait(SECONDS)
        assert database.events == ["open"]
        database.let_close.set()
    assert database.events == ["open", "closed"]
