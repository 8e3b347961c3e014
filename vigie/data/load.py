"""Load: clean tables, cohort and predictions into PostgreSQL, and where that PostgreSQL is.

A load is one transaction (see ``load_session``): it is there as a whole or not at all. What a
moment's trouble broke off (a restart, a deadlock) is tried again from the start.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.data.load_errors import (
    LOCK_TIMEOUT,
    Failure,
    Interference,
    as_database_error,
    is_driver_error,
    read_failure,
)
from vigie.data.load_interrupt import Interrupt
from vigie.data.load_plan import COHORT, fit_name, plan_predictions, plan_tables
from vigie.data.load_rows import (
    Source,
    arrow_columns,
    parquet_columns,
    parquet_source,
    table_source,
)
from vigie.data.load_session import load_in_transaction
from vigie.data.load_sql import literal
from vigie.data.load_transaction import Progress, Transaction, Watch
from vigie.i18n import _
from vigie.pipeline.interrupt import run_interruptibly

if TYPE_CHECKING:
    from vigie.data.address import ConnectionString, DatabaseAddress
    from vigie.dataset.spec import Dataset
    from vigie.settings import LoadedSettings

TABLES_RECORD = "tables"
PREDICTIONS_RECORD = "predictions"
CONNECT_TIMEOUT_SECONDS = 5
# Seconds before the second try and the third.
PAUSES = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did.

    Parameters
    ----------
    rows
        Rows of each table: as COPY told of a new one, counted in one of people's.
    seconds
        Seconds of each phase (``rows of student_vle``, ``indexes``, ``commit``).
    strategy
        ``"swap"`` or ``"refill"`` (see ``load_session``).
    attempts
        How many tries it took.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    strategy: str = "swap"
    attempts: int = 1


# --- loading ---------------------------------------------------------------------------------


def load_tables(
    address: DatabaseAddress,
    schema: str,
    dataset: Dataset,
    tables: Mapping[str, Path],
    cohort: Path,
    *,
    fingerprint: str,
    run: Mapping[str, Any],
    progress: Progress | None = None,
) -> LoadReport:
    """Put all declared tables and the cohort into `schema`, in one transaction.

    Parameters
    ----------
    tables
        The clean Parquet file of each declared table.
    cohort
        The Parquet file of the cohort.
    fingerprint
        Of the work that made the files; kept in the record and in the artifact's state.
    run
        What else is worth keeping in the record; JSON.
    progress
        Told what is being done, and the share of the work that is done (0 to 1).

    Raises
    ------
    DatabaseError
        When PostgreSQL refuses; nothing has changed then.
    """
    columns = {name: parquet_columns(tables[name]) for name in dataset.tables}
    plans = plan_tables(dataset, columns, parquet_columns(cohort))
    files = {fit_name(name): path for name, path in tables.items()} | {COHORT: cohort}
    sources = [parquet_source(plan, files[plan.name]) for plan in plans]
    return _load(address, schema, TABLES_RECORD, sources, fingerprint, run, progress)


def load_predictions(
    address: DatabaseAddress,
    schema: str,
    table: Any,
    key: Sequence[str],
    *,
    fingerprint: str,
    run: Mapping[str, Any] | None = None,
    comments: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> LoadReport:
    """Put the predictions into the table ``predictions`` of `schema`, in one transaction.

    Parameters
    ----------
    table
        A ``pyarrow.Table`` with one row for each row of the cohort.
    key
        The columns of the primary key.
    comments
        What each column means.

    Raises
    ------
    DatabaseError
        When PostgreSQL refuses; nothing has changed then.
    """
    plan = plan_predictions(arrow_columns(table.schema), tuple(key), comments or {})
    sources = [table_source(plan, table)]
    return _load(address, schema, PREDICTIONS_RECORD, sources, fingerprint, run or {}, progress)


def _load(
    address: DatabaseAddress,
    schema: str,
    record: str,
    sources: Sequence[Source],
    fingerprint: str,
    run: Mapping[str, Any],
    progress: Progress | None,
) -> LoadReport:
    """Try the whole load until it succeeds, fails for good, or has had its tries."""
    interrupt = Interrupt()

    def tries() -> LoadReport:
        for attempt, pause in enumerate([*PAUSES, None], start=1):
            watch = Watch(progress, interrupt)
            try:
                strategy = _load_once(address, schema, record, sources, fingerprint, run, watch)
            except Exception as error:
                interrupt.check()
                if not (is_driver_error(error) or isinstance(error, Interference)):
                    raise
                failure = read_failure(error)
                if failure.transient and pause is not None:
                    interrupt.wait(pause)
                    continue
                names = [source.plan.name for source in sources]
                holders = _lock_holders(address, schema, names, failure)
                raise as_database_error(
                    failure,
                    schema=schema,
                    address=address.masked,
                    doing=watch.doing,
                    holders=holders,
                ) from error
            rows = {source.plan.name: source.row_count for source in sources}
            return LoadReport(rows, watch.seconds, strategy, attempt)
        raise AssertionError("the last try has no pause after it")

    # The server rolls back by itself when the process ends: no need to see it happen.
    return run_interruptibly(tries, stop=interrupt.request)


def _load_once(
    address: DatabaseAddress,
    schema: str,
    record: str,
    sources: Sequence[Source],
    fingerprint: str,
    run: Mapping[str, Any],
    watch: Watch,
) -> str:
    import psycopg

    with watch.phase("connect", _("connecting")):
        # Nothing is prepared: a pooler between us and the server may not know of it.
        connection = psycopg.connect(conninfo(address, "vigie load"), prepare_threshold=None)
    watch.interrupt.connection = connection
    try:
        transaction = Transaction(connection, schema, record, watch)
        strategy = load_in_transaction(transaction, sources, fingerprint=fingerprint, run=run)
        watch.advance(1.0)
        with watch.phase("commit", _("committing")):
            connection.commit()
        return strategy
    finally:
        watch.interrupt.connection = None
        # After a failure the server rolls back by itself when the connection goes.
        with suppress(Exception):
            connection.close()


def conninfo(
    address: DatabaseAddress, application: str, *, connect_timeout: int = CONNECT_TIMEOUT_SECONDS
) -> str:
    """Return what a connection of the load is made with."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    given: dict[str, Any] = dict(conninfo_to_dict(address.url()))
    given.setdefault("connect_timeout", connect_timeout)
    own = {"application_name": application, "client_encoding": "UTF8"}
    return make_conninfo("", **{**given, **own})


def _lock_holders(
    address: DatabaseAddress, schema: str, tables: Sequence[str], failure: Failure
) -> str | None:
    """Return who holds locks on the tables, as far as this user may see it."""
    if failure.state != LOCK_TIMEOUT:
        return None
    import psycopg

    names = ", ".join(literal(name) for name in tables)
    try:
        with psycopg.connect(conninfo(address, "vigie")) as connection:
            found = connection.execute(
                "SELECT DISTINCT a.pid, a.usename, a.application_name, a.state "
                "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "JOIN pg_class c ON c.oid = l.relation "
                "JOIN pg_namespace n ON n.oid = c.relnamespace "
                f"WHERE l.granted AND n.nspname = {literal(schema)} AND c.relname IN ({names}) "
                "AND l.pid <> pg_backend_pid() ORDER BY a.pid"
            ).fetchall()
    except psycopg.Error:
        return None
    return ", ".join(
        _("process {pid} of {user} ({application}, {state})").format(
            pid=pid, user=user, application=application or "?", state=state
        )
        for pid, user, application, state in found
    )


# --- where the database is -------------------------------------------------------------------


def resolve_address(settings: LoadedSettings) -> DatabaseAddress | None:
    """Return the configured server's address; None where the embedded one is to be used."""
    if not settings.database_configured:
        return None
    from vigie.data.address import DatabaseAddress

    database = settings.values.database
    if database.url is not None:
        origin = str(settings.origins["database.url"])
        return DatabaseAddress.from_url(database.url.get_secret_value(), origin)
    assert database.host is not None
    return DatabaseAddress.from_parts(
        database.host,
        database.port,
        database.name,
        database.user,
        database.password.get_secret_value() if database.password else None,
        str(settings.origins["database.host"]),
    )


@contextmanager
def open_database(settings: LoadedSettings) -> Iterator[DatabaseAddress]:
    """Yield the address of a server that answers: the configured one, else the embedded one.

    Raises
    ------
    DatabaseUnreachable
        When the configured server doesn't answer in time.
    """
    address = resolve_address(settings)
    if address is not None:
        from vigie.data.address import check_reachable

        check_reachable(address, settings.values.database.connect_timeout)
        yield address
        return
    from vigie.data.postgres import open_embedded

    with open_embedded(_embedded_folder(settings.project)) as embedded:
        yield embedded


def create_connection_string(
    project: str | Path | None = None, *, start: bool = True
) -> ConnectionString:
    """Return the URL of the project's database; it prints with its password masked.

    SQLAlchemy and psycopg accept it as it is.

    Parameters
    ----------
    project
        The project's folder; None looks for it from the working folder upwards.
    start
        With no server configured, the embedded one is started where it doesn't run, and held
        until this process ends. False only says where it would answer.
    """
    from vigie.settings import find_project, load_settings

    settings = load_settings(Path(project) if project else find_project(Path.cwd()))
    address = resolve_address(settings)
    if address is None and start:
        address = _hold_embedded(settings.project)
    elif address is None:
        from vigie.data.postgres import EmbeddedServer

        address = EmbeddedServer(_embedded_folder(settings.project)).address()
    return address.url()


def _embedded_folder(project: Path) -> Path:
    return project / ".vigie" / "postgres"


@cache
def _hold_embedded(project: Path) -> DatabaseAddress:
    """Start a project's embedded server, once in a process, and leave it when the process ends."""
    from vigie.data.postgres import open_embedded

    held = ExitStack()
    atexit.register(held.close)
    return held.enter_context(open_embedded(_embedded_folder(project)))
