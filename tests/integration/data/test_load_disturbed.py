"""A load and what happens meanwhile: kills, locks, other loads, no answer."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.data.place import Place
from tests.integration.data.school import School
from vigie.data import load as load_module
from vigie.data import load_prepare
from vigie.data.address import DatabaseAddress
from vigie.errors import DatabaseError, DatabaseUnreachable


def kill_loader(place: Place) -> None:
    place.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'vigie load' AND pid <> pg_backend_pid()"
    )


def test_a_load_that_is_killed_leaves_the_old_tables(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "PAUSES", (0.0, 0.0))
    place.load()
    before = place.state()

    def progress(doing: str, _share: float) -> None:
        if "rows of visits" in doing:
            kill_loader(place)

    with pytest.raises(DatabaseUnreachable, match="lost"):
        place.load(School(visits=200_000), progress=progress)
    assert place.state() == before
    assert place.ask("SELECT count(*) FROM visits") == [10]


def test_what_a_moment_broke_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "PAUSES", (0.0, 0.0))
    kills = iter([True])

    def progress(doing: str, _share: float) -> None:
        if "foreign keys" in doing and next(kills, False):
            kill_loader(place)

    report = place.load(progress=progress)
    assert report.attempts == 2
    assert place.ask("SELECT count(*) FROM visits") == [10]


def test_ctrl_c_stays_ctrl_c_and_changes_nothing(place: Place) -> None:
    place.load()
    before = place.state()
    presses = iter([True])

    def progress(doing: str, _share: float) -> None:
        if "rows of visits" in doing and next(presses, False):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        place.load(School(visits=200_000), progress=progress)
    assert place.state() == before
    assert place.load().strategy == "swap"


def test_a_view_made_during_a_load_survives_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "PAUSES", (0.0, 0.0))
    place.load()
    makers = iter([True])

    def progress(doing: str, _share: float) -> None:
        if "indexes" in doing and next(makers, False):
            place.ask("CREATE VIEW late AS SELECT count(*) FROM visits")

    report = place.load(School(visits=12), progress=progress)
    assert (report.strategy, report.attempts) == ("refill", 2)
    assert place.ask("SELECT * FROM late") == [12]


def test_readers_go_on_until_the_swap(place: Place) -> None:
    place.load()
    seen: list[Any] = []

    def progress(doing: str, _share: float) -> None:
        if "indexes" in doing:
            with place.connect() as connection:
                connection.execute("SET lock_timeout = '1s'")
                seen.append(connection.execute("SELECT count(*) FROM visits").fetchone())

    place.load(School(visits=12), progress=progress)
    assert set(seen) == {(10,)}


def test_two_loads_at_once_take_turns(place: Place, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            replace(place, folder=tmp_path / str(number)).load(School(visits=1000 * number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert place.ask("SELECT count(*) FROM visits")[0] in {1000, 2000, 3000}


def test_a_user_without_rights_is_told_which(place: Place, role: str) -> None:
    limited = replace(place, address=replace(place.address, user=role))
    with pytest.raises(DatabaseError, match="permission denied") as caught:
        limited.load()
    assert "GRANT CREATE ON DATABASE" in str(caught.value.fix)


def test_who_holds_a_lock_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(load_prepare.SETTINGS, "lock_timeout", "200ms")
    place.load()
    before = place.state()
    with place.connect() as connection, connection.transaction():
        connection.execute("SET application_name = 'a spreadsheet'")
        connection.execute("SELECT count(*) FROM pupils")
        with pytest.raises(DatabaseError, match="in use") as caught:
            place.load()
    assert "a spreadsheet" in str(caught.value.fix)
    assert place.state() == before


def test_a_server_that_does_not_answer_is_unreachable(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "PAUSES", (0.0, 0.0))
    place.address = DatabaseAddress.from_parts("127.0.0.1", 1, "x", "me", "canary")
    with pytest.raises(DatabaseUnreachable) as caught:
        place.load()
    assert "canary" not in str(caught.value)
    with pytest.raises(DatabaseError) as caught:
        place.state()
    assert "canary" not in str(caught.value)
