"""The run records as tables in PostgreSQL, for whoever asks questions in SQL.

The JSON records are the truth; the tables follow. Each writing adds every finished run that isn't
there yet, so runs recorded while the database was away, and killed ones, arrive with the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.data.load import conninfo
from vigie.history.runs import RecordedRun, RunHistory
from vigie.i18n import _
from vigie.pipeline.console import LOGGER
from vigie.pipeline.record import RUNNING

if TYPE_CHECKING:
    import psycopg

    from vigie.data.address import DatabaseAddress

SCHEMA = "vigie_history"
# A run that has ended must not wait for somebody who has locked these tables.
TIMEOUT_MILLISECONDS = 3000
CONNECT_TIMEOUT_SECONDS = 2
# Any number, but the same for all that make the tables at the same time.
_ADVISORY_LOCK = 7_164_353_011
RUNS, STEPS, METRICS = "runs", "run_steps", "run_metrics"
# Each with its columns and, after them, its primary key.
_TABLES: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    RUNS: (
        {
            "run_id": "text",
            "project": "text NOT NULL",
            "mode": "text NOT NULL",
            "status": "text NOT NULL",
            "started": "timestamptz NOT NULL",
            "finished": "timestamptz",
            "seconds": "double precision",
            "command": "text",
            "git_commit": "text",
            "git_dirty": "boolean",
            "vigie_version": "text",
            "model_version": "text",
            "error": "text",
            "settings": "jsonb NOT NULL",
            "libraries": "jsonb NOT NULL",
        },
        ("run_id",),
    ),
    STEPS: (
        {
            "run_id": "text REFERENCES {runs} ON DELETE CASCADE",
            "step": "text",
            "status": "text",
            "decision": "text NOT NULL",
            "started": "timestamptz",
            "seconds": "double precision",
            "rows": "bigint",
            "fingerprint": "text",
            "facts": "jsonb NOT NULL",
        },
        ("run_id", "step"),
    ),
    METRICS: (
        {
            "run_id": "text REFERENCES {runs} ON DELETE CASCADE",
            "name": "text",
            "value": "double precision NOT NULL",
        },
        ("run_id", "name"),
    ),
}


def write_history(address: DatabaseAddress, project: Path, history: RunHistory) -> int:
    """Add every finished run that the database hasn't got yet; return how many were added.

    A database that refuses costs the tables, never the run: it is logged, and 0 is returned.

    Parameters
    ----------
    project
        The project's folder, by which several projects in one database are told apart.
    """
    import psycopg

    try:
        target = conninfo(address, "vigie history", connect_timeout=CONNECT_TIMEOUT_SECONDS)
        with psycopg.connect(target) as connection:
            connection.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MILLISECONDS}")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))
            _create_tables(connection)
            return _add_missing(connection, project, history)
    except psycopg.Error as error:
        # The class says enough: a driver's text may hold the address.
        LOGGER.warning(
            _("The run history was not written to {address}: {reason}").format(
                address=address.masked, reason=f"{type(error).__name__} {error.sqlstate or ''}"
            )
        )
        return 0


def _create_tables(connection: psycopg.Connection[Any]) -> None:
    """Make what isn't there; where all is there, no right to make anything is needed."""
    from psycopg import sql

    runs = sql.Identifier(SCHEMA, RUNS)
    found = connection.execute(
        "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = ANY(%s)",
        (SCHEMA, list(_TABLES)),
    ).fetchone()
    if found == (len(_TABLES),):
        return
    schema = sql.Identifier(SCHEMA)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    for name, (columns, key) in _TABLES.items():
        defined = [
            # Types are our own words; only the table that they refer to is a name.
            sql.SQL("{} ").format(sql.Identifier(column)) + sql.SQL(kind).format(runs=runs)
            for column, kind in columns.items()
        ]
        primary = sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, key)))
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
                sql.Identifier(SCHEMA, name), sql.SQL(", ").join([*defined, primary])
            )
        )


def _add_missing(connection: psycopg.Connection[Any], project: Path, history: RunHistory) -> int:
    import psycopg
    from psycopg import sql

    run_ids = history.ids()
    there = connection.execute(
        sql.SQL("SELECT run_id FROM {} WHERE run_id = ANY(%s)").format(
            sql.Identifier(SCHEMA, RUNS)
        ),
        (run_ids,),
    ).fetchall()
    known = {run_id for (run_id,) in there}
    added = 0
    for run_id in reversed(run_ids):
        run = None if run_id in known else history.read(run_id)
        if run is None or run.summary.status == RUNNING:
            continue
        try:
            with connection.transaction():
                _add(connection, project, run)
            added += 1
        except psycopg.DataError as error:
            # A value that PostgreSQL cannot hold keeps only its own run out.
            LOGGER.warning(
                _("Run {run} was not written to the history: {reason}").format(
                    run=run_id, reason=type(error).__name__
                )
            )
    return added


def _add(connection: psycopg.Connection[Any], project: Path, run: RecordedRun) -> None:
    rows = {RUNS: [_run_row(project, run)], STEPS: _step_rows(run), METRICS: _metric_rows(run)}
    with connection.cursor() as cursor:
        for name, values in rows.items():
            if values:
                cursor.executemany(_insert(name), values)


def _insert(name: str) -> Any:
    from psycopg import sql

    columns, _key = _TABLES[name]
    return sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
        sql.Identifier(SCHEMA, name),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )


def _run_row(project: Path, run: RecordedRun) -> tuple[Any, ...]:
    from psycopg.types.json import Jsonb

    one, record = run.summary, run.record
    settings = {
        key: {"value": value, "origin": origin}
        for key, (value, origin) in (record.get("settings") or {}).items()
    }
    libraries = record.get("libraries") or {}
    return (
        one.run_id,
        str(project),
        one.mode,
        one.status,
        one.started,
        record.get("finished"),
        one.seconds,
        record.get("command"),
        one.git_commit,
        one.git_dirty,
        libraries.get("vigie"),
        one.model_version,
        record.get("error"),
        Jsonb(settings),
        Jsonb(libraries),
    )


def _step_rows(run: RecordedRun) -> list[tuple[Any, ...]]:
    from psycopg.types.json import Jsonb

    return [
        (
            run.summary.run_id,
            step.name,
            step.status,
            step.action,
            step.started,
            step.seconds,
            step.row_count,
            step.fingerprint.get("digest"),
            Jsonb(dict(step.facts)),
        )
        for step in run.steps
    ]


def _metric_rows(run: RecordedRun) -> list[tuple[Any, ...]]:
    return [(run.summary.run_id, name, value) for name, value in run.metrics.items()]
