"""The run records as tables, in a real PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.unit.history.kept_runs import evaluated, keep_run, trained
from tests.unit.pipeline.test_ledger import make_outcome
from vigie.data.address import DatabaseAddress
from vigie.data.postgres import open_embedded
from vigie.history.runs import RunHistory
from vigie.history.tables import write_history
from vigie.pipeline.console import LOGGER
from vigie.pipeline.ledger import Status
from vigie.pipeline.lock import ProjectLock

FIRST, SECOND, THIRD = (f"2026070{day}T100000.000Z-aa1{day}" for day in (1, 2, 3))
CANARY = "c4n4ry-p4ss"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseAddress]:
    with open_embedded(tmp_path_factory.mktemp("server") / "pg") as address:
        yield address


@pytest.fixture
def address(server: DatabaseAddress) -> DatabaseAddress:
    with psycopg.connect("".join(server.url()), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS vigie_history CASCADE")
        connection.execute("DROP ROLE IF EXISTS reader")
    return server


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".vigie"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(LOGGER, "propagate", True)
    return caplog


def write(address: DatabaseAddress, state: Path) -> int:
    return write_history(address, state.parent, RunHistory(state))


def rows(address: DatabaseAddress, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect("".join(address.url())) as connection:
        return connection.execute(query).fetchall()


def test_a_run_with_its_steps_and_metrics(address: DatabaseAddress, state: Path) -> None:
    load = make_outcome("load", finished="a", facts={"rows": {"cohort": 40, "vle": 2}}, seconds=1.5)
    train, score = trained("rf-1", "b"), evaluated(0.9, "c")
    keep_run(state, FIRST, outcomes=(load, train, score), command="vigie run --note 'x; --'")
    keep_run(state, SECOND, skipped={"load": load, "train": train, "evaluate": score})
    assert write(address, state) == 2
    assert rows(
        address,
        "SELECT run_id, project, mode, status, command, git_commit, git_dirty, vigie_version, "
        "model_version, error, settings->'cutoff_days'->>'origin', libraries->>'numpy', "
        "finished >= started, seconds >= 0 FROM vigie_history.runs WHERE run_id LIKE '%11'",
    ) == [
        (
            FIRST, str(state.parent), "dev", "success", "vigie run --note 'x; --'", "a" * 40, False,
            "0.1.0", "rf-1", None, "default", "2.0", True, True,
        )
    ]  # fmt: skip
    steps = (
        "SELECT step, status, decision, seconds, rows, fingerprint, facts->'rows'->>'cohort' "
        "FROM vigie_history.run_steps WHERE run_id = '{}' AND step = 'load'"
    )
    digest = load.fingerprint.digest
    assert rows(address, steps.format(FIRST)) == [("load", "success", "run", 1.5, 42, digest, "40")]
    # What was skipped counts as what it was skipped for, but took no time.
    assert rows(address, steps.format(SECOND)) == [
        ("load", "skipped", "skip", None, 42, digest, "40")
    ]
    assert rows(
        address, "SELECT run_id, name, value FROM vigie_history.run_metrics ORDER BY 1"
    ) == [
        (FIRST, "roc_auc", 0.9),
        (SECOND, "roc_auc", 0.9),
    ]


def test_only_what_is_not_there_yet_is_added(address: DatabaseAddress, state: Path) -> None:
    keep_run(state, FIRST)
    assert (write(address, state), write(address, state)) == (1, 0)
    # While the database was away: one that failed, one that was killed, one of the other mode.
    failed = make_outcome("load", Status.FAILED, outputs={}, error="refused")
    keep_run(state, SECOND, outcomes=(failed,), status=Status.FAILED)
    keep_run(state, THIRD, mode="prod", status=None)
    with ProjectLock(state, "prod").hold():  # prod is at work: it has not ended
        assert write(address, state) == 1
    assert write(address, state) == 1
    found = rows(
        address, "SELECT run_id, status, finished IS NULL FROM vigie_history.runs ORDER BY 1"
    )
    assert found == [
        (FIRST, "success", False),
        (SECOND, "failed", False),
        (THIRD, "killed", True),
    ]


def test_two_processes_at_once(address: DatabaseAddress, state: Path) -> None:
    for run_id in (FIRST, SECOND, THIRD):
        keep_run(state, run_id)
    added: list[int] = []
    threads = [
        threading.Thread(target=lambda: added.append(write(address, state))) for _each in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [0, 0, 0, 3]
    assert rows(address, "SELECT count(*) FROM vigie_history.runs") == [(3,)]


def test_a_value_that_postgresql_cannot_hold_keeps_only_its_own_run_out(
    address: DatabaseAddress, state: Path, logged: pytest.LogCaptureFixture
) -> None:
    keep_run(state, FIRST)
    keep_run(state, SECOND, settings={"dataset": ["nul \0 inside", "default"]})
    keep_run(state, THIRD)
    assert write(address, state) == 2
    assert f"Run {SECOND} was not written" in logged.text
    assert rows(address, "SELECT run_id FROM vigie_history.runs ORDER BY 1") == [(FIRST,), (THIRD,)]


def test_a_database_that_refuses_is_logged_without_its_password(
    address: DatabaseAddress, state: Path, logged: pytest.LogCaptureFixture
) -> None:
    keep_run(state, FIRST)
    with psycopg.connect("".join(address.url()), autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN")
    assert write(replace(address, user="reader", password=CANARY), state) == 0
    assert write(replace(address, host="/nowhere", password=CANARY), state) == 0
    assert logged.text.count("The run history was not written") == 2
    assert "InsufficientPrivilege" in logged.text
    assert CANARY not in logged.text
    # With the tables there and the rights to them, no right to make any is needed.
    assert write(address, state) == 1
    with psycopg.connect("".join(address.url()), autocommit=True) as connection:
        connection.execute("GRANT USAGE ON SCHEMA vigie_history TO reader")
        connection.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA vigie_history TO reader")
    keep_run(state, SECOND)
    assert write(replace(address, user="reader"), state) == 1
    with psycopg.connect("".join(address.url()), autocommit=True) as connection:
        connection.execute("DROP OWNED BY reader")


def test_somebody_who_locks_the_tables_does_not_hold_a_run_up(
    address: DatabaseAddress,
    state: Path,
    logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vigie.history.tables.TIMEOUT_MILLISECONDS", 200)
    keep_run(state, FIRST)
    write(address, state)
    keep_run(state, SECOND)
    with psycopg.connect("".join(address.url())) as other:
        other.execute("LOCK TABLE vigie_history.runs IN ACCESS EXCLUSIVE MODE")
        assert write(address, state) == 0
    assert "QueryCanceled" in logged.text
    assert write(address, state) == 1


def test_no_secret_is_in_the_tables(address: DatabaseAddress, state: Path) -> None:
    shown = {"database.password": ["***", ".env DB_PASSWORD"]}
    keep_run(state, FIRST, settings=shown)
    write(address, state)
    ((found,),) = rows(address, "SELECT settings::text FROM vigie_history.runs")
    assert json.loads(found)["database.password"] == {"value": "***", "origin": ".env DB_PASSWORD"}
