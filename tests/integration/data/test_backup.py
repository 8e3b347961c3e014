"""Backups and restores against both kinds of server: nothing is lost, nothing is half done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.conftest import ROOT
from tests.integration.postgres15 import OwnServer, own_server
from vigie.data.address import DatabaseAddress
from vigie.data.backup import backup_schema, list_backups, verify_backup
from vigie.data.postgres import open_embedded
from vigie.data.restore import restore_backup
from vigie.errors import DatabaseError, DataError

__all__ = ["own_server"]

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SCHEMA = "vigie_test"
ODD = 'tä"b;le'
ODD_SQL = '"tä""b;le"'


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseAddress]:
    with open_embedded(tmp_path_factory.mktemp("pg") / "postgres") as address:
        yield address


@pytest.fixture(params=["embedded", "installed"])
def address(request: pytest.FixtureRequest) -> Iterator[DatabaseAddress]:
    if request.param == "embedded":
        found: DatabaseAddress = request.getfixturevalue("embedded")
    else:
        own: OwnServer = request.getfixturevalue("own_server")
        found = DatabaseAddress(own.host, own.port, own.name, own.user, own.password)
    ask(found, "DROP SCHEMA IF EXISTS people CASCADE", f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    yield found
    staging = ask(found, "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%restore%'")
    assert staging == []


def ask(address: DatabaseAddress, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect("".join(address.url()), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
    return cursor.fetchall() if cursor.description else []


def fill(address: DatabaseAddress, rows: int = 500) -> None:
    ask(
        address,
        f"CREATE SCHEMA {SCHEMA}",
        f"CREATE TABLE {SCHEMA}.person (id int PRIMARY KEY, name text NOT NULL)",
        f"COMMENT ON TABLE {SCHEMA}.person IS 'who'",
        f"CREATE TABLE {SCHEMA}.{ODD_SQL} (n int PRIMARY KEY, id int "
        f'REFERENCES {SCHEMA}.person, "fär" text)',
        f"INSERT INTO {SCHEMA}.person SELECT i, 'n' || i FROM generate_series(1, {rows}) i",
        f"INSERT INTO {SCHEMA}.{ODD_SQL} SELECT i, i, 'é;\"' FROM generate_series(1, {rows}) i",
    )


def count(address: DatabaseAddress, table: str = "person") -> object:
    return ask(address, f"SELECT count(*) FROM {SCHEMA}.{table}")[0][0]


def test_there_and_back(address: DatabaseAddress, tmp_path: Path) -> None:
    fill(address)
    made = backup_schema(address, SCHEMA, tmp_path / "backups", now=NOW, keep=5)
    assert made.row_counts == {"person": 500, ODD: 500}
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    assert list_backups(made.path.parent) == [made] == [verify_backup(made.path)]
    ask(address, f"DELETE FROM {SCHEMA}.{ODD_SQL}", f"DELETE FROM {SCHEMA}.person WHERE id > 9")
    report = restore_backup(address, made.path, schema=SCHEMA)
    assert report.row_counts == made.row_counts
    assert report.replaced
    assert count(address) == count(address, ODD_SQL) == 500
    assert ask(address, f"SELECT obj_description('{SCHEMA}.person'::regclass)") == [("who",)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        ask(address, f"INSERT INTO {SCHEMA}.{ODD_SQL} VALUES (1000, 1000, '')")


def test_into_an_empty_database(address: DatabaseAddress, tmp_path: Path) -> None:
    fill(address)
    made = backup_schema(address, SCHEMA, tmp_path, now=NOW, keep=5)
    ask(address, f"DROP SCHEMA {SCHEMA} CASCADE")
    assert not restore_backup(address, made.path, schema=SCHEMA).replaced
    assert count(address, ODD_SQL) == 500


def test_what_people_attached_stays(address: DatabaseAddress, tmp_path: Path) -> None:
    fill(address)
    made = backup_schema(address, SCHEMA, tmp_path, now=NOW, keep=5)
    ask(
        address,
        "CREATE SCHEMA people",
        f"CREATE VIEW people.names AS SELECT name FROM {SCHEMA}.person",
        f"CREATE VIEW {SCHEMA}.both_ AS SELECT name FROM {SCHEMA}.person NATURAL JOIN "
        f"{SCHEMA}.{ODD_SQL}",
        f"CREATE TABLE people.notes (id int REFERENCES {SCHEMA}.person, text text)",
        f"INSERT INTO people.notes SELECT 3, 'hello' FROM {SCHEMA}.person LIMIT 1",
        f"CREATE TABLE {SCHEMA}.mine AS SELECT 1 AS one",
        f"GRANT SELECT ON {SCHEMA}.person TO PUBLIC",
        f"TRUNCATE {SCHEMA}.{ODD_SQL}",
        f"UPDATE {SCHEMA}.person SET name = 'x'",
    )
    restore_backup(address, made.path, schema=SCHEMA)
    assert ask(address, "SELECT count(DISTINCT name) FROM people.names") == [(500,)]
    assert count(address, "both_") == 500
    assert count(address, "mine") == 1
    assert ask(address, "SELECT text FROM people.notes") == [("hello",)]
    assert ask(
        address,
        "SELECT count(*) FROM information_schema.role_table_grants "
        f"WHERE grantee = 'PUBLIC' AND table_schema = '{SCHEMA}'",
    ) == [(1,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        ask(address, "INSERT INTO people.notes VALUES (1000, '')")


def test_grants_and_views_of_the_backup_come_back(address: DatabaseAddress, tmp_path: Path) -> None:
    fill(address)
    ask(
        address,
        "DO $$ BEGIN CREATE ROLE gone; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"GRANT SELECT ON {SCHEMA}.person TO PUBLIC, gone",
        f"CREATE VIEW {SCHEMA}.short AS SELECT name FROM {SCHEMA}.person WHERE id < 4",
    )
    made = backup_schema(address, SCHEMA, tmp_path, now=NOW, keep=5)
    ask(address, f"DROP SCHEMA {SCHEMA} CASCADE", "DROP ROLE gone")
    report = restore_backup(address, made.path, schema=SCHEMA)
    assert count(address, "short") == 3
    assert "gone" in " ".join(report.notes)
    assert ask(
        address,
        f"SELECT has_table_privilege('{SCHEMA}.person', 'SELECT'), count(*) "
        f"FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' "
        f"AND table_schema = '{SCHEMA}'",
    ) == [(True, 1)]


def test_other_columns_and_a_view_are_refused(address: DatabaseAddress, tmp_path: Path) -> None:
    fill(address)
    made = backup_schema(address, SCHEMA, tmp_path, now=NOW, keep=5)
    ask(
        address,
        f"ALTER TABLE {SCHEMA}.person ADD COLUMN age int",
        f"CREATE VIEW {SCHEMA}.ages AS SELECT age FROM {SCHEMA}.person",
    )
    with pytest.raises(DatabaseError, match="person"):
        restore_backup(address, made.path, schema=SCHEMA)
    assert count(address, "ages") == 500


def test_a_killed_restore_leaves_the_old_rows(address: DatabaseAddress, tmp_path: Path) -> None:
    fill(address, rows=60_000)
    made = backup_schema(address, SCHEMA, tmp_path, now=NOW, keep=5)
    ask(address, f"DELETE FROM {SCHEMA}.{ODD_SQL}", f"DELETE FROM {SCHEMA}.person WHERE id > 9")
    code = (
        "import pickle, sys; from pathlib import Path; from vigie.data.restore import *;"
        "address = pickle.loads(sys.stdin.buffer.read());"
        f"restore_backup(address, Path({str(made.path)!r}), schema={SCHEMA!r})"
    )
    import pickle

    seen = set()
    for delay in (0.15, 0.3, 0.45, 0.6, 0.8, 1.0):
        running = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True
        )
        assert running.stdin is not None
        running.stdin.write(pickle.dumps(address))
        running.stdin.close()
        time.sleep(delay)
        listed = [" ".join(one.cmdline()) for one in psutil.process_iter() if _alive(one)]
        assert not any(address.password and address.password in line for line in listed)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        wait_for_sessions(address)
        rows = (count(address), count(address, ODD_SQL))
        assert rows in ((9, 0), (60_000, 60_000)), rows
        seen.add(rows)
    assert (9, 0) in seen
    restore_backup(address, made.path, schema=SCHEMA)
    assert count(address) == 60_000


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline())
    except psutil.Error:
        return False


def wait_for_sessions(address: DatabaseAddress) -> None:
    """Wait until the server has noticed that its clients are dead."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND (application_name IN ('vigie restore', 'psql', 'pg_restore'))"
    )
    deadline = time.monotonic() + 20
    while ask(address, query) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_oldest_go_and_the_newest_stays(embedded: DatabaseAddress, tmp_path: Path) -> None:
    ask(embedded, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    fill(embedded, rows=3)
    made = [
        backup_schema(embedded, SCHEMA, tmp_path, now=NOW + timedelta(days=day), keep=2)
        for day in range(4)
    ]
    assert list_backups(tmp_path) == [made[3], made[2]]
    assert len(list(tmp_path.iterdir())) == 4


def test_damage_is_noticed(embedded: DatabaseAddress, tmp_path: Path) -> None:
    ask(embedded, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    fill(embedded)
    made = backup_schema(embedded, SCHEMA, tmp_path, now=NOW, keep=2)
    content = made.path.read_bytes()
    made.path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="cut off"):
        restore_backup(embedded, made.path, schema=SCHEMA)
    made.path.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match="checksum"):
        restore_backup(embedded, made.path, schema=SCHEMA)
    made.path.write_bytes(content)
    with pytest.raises(DataError, match="is of schema vigie_test"):
        restore_backup(embedded, made.path, schema="vigie_prod")
    with pytest.raises(DataError, match="no whole backup"):
        restore_backup(embedded, tmp_path / "none.dump", schema=SCHEMA)
    sidecar = made.path.with_suffix(".json")
    sidecar.write_text(json.dumps({"schema": SCHEMA}))
    with pytest.raises(DataError, match="description is damaged"):
        verify_backup(made.path)
    assert list_backups(tmp_path) == []
    assert count(embedded) == 500


def test_nothing_to_back_up(embedded: DatabaseAddress, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="nothing to back up"):
        backup_schema(embedded, "vigie_nothing", tmp_path, now=NOW, keep=2)
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_in_no_error(tmp_path: Path) -> None:
    address = DatabaseAddress("127.0.0.1", 1, "x", "ann", "c4n4ry")
    with pytest.raises(DatabaseError) as caught:
        backup_schema(address, SCHEMA, tmp_path, now=NOW, keep=2)
    assert "c4n4ry" not in str(caught.value)


def test_a_dump_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    dump = tmp_path / "pg_dump"
    said = tmp_path / "pid"
    lines = ["#!/bin/sh", f"echo $$ >'{said}.new'", f"mv '{said}.new' '{said}'", "exec sleep 60"]
    dump.write_text("\n".join(lines))
    dump.chmod(0o755)
    code = (
        "import pathlib, sys; from vigie.data import backup, address; "
        f"backup.find_binary = lambda name: pathlib.Path({str(dump)!r}); "
        "backup._run_program(address.DatabaseAddress('nowhere', 5432, 'd', 'u', None), 'pg_dump')"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        for _wait in range(600):
            if said.exists():
                break
            time.sleep(0.05)
        dumping = psutil.Process(int(said.read_text()))
    finally:
        run.kill()
        run.wait()
    dumping.wait(10)
