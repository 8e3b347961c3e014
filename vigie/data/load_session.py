"""One load, in one transaction: stage, fill, key, check, swap, record.

Two ways lead to the same end, and the catalogue decides between them:

swap
    Nobody attached anything to the tables. New tables are filled beside the old ones and take
    their names at the end; readers go on with the old rows until then.
refill
    There are views, grants, policies, triggers or other things of people's on the tables. They
    belong to the table itself, often to other owners, and could not all be made again; so the
    tables stay the same objects: they are emptied and filled in the same transaction, and readers
    wait until it commits. Changed columns are altered in place.

Either way TRUNCATE or CREATE in the same transaction lets a server with ``wal_level = minimal``
write the rows only once, and any failure leaves everything as it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vigie.data.load_catalog import (
    OutsideKey,
    find_dependents,
    find_outside_keys,
    find_own_objects,
    read_records,
    read_relations,
    read_signatures,
    schema_exists,
)
from vigie.data.load_errors import DEPENDENT_OBJECTS, Interference, read_failure
from vigie.data.load_rows import RowStream, Source
from vigie.data.load_sql import (
    RECORD_TABLE,
    STAGING_PREFIX,
    ColumnPlan,
    TablePlan,
    comment_sql,
    create_table_sql,
    fit_name,
    foreign_key_sql,
    index_sql,
    literal,
    primary_key_sql,
    quote,
    quote_list,
    record_table_sql,
    touch_trigger_sql,
)
from vigie.errors import DatabaseError
from vigie.i18n import _

Progress = Callable[[str, float], None]
# Of the work, by measurement on the whole of OULAD: rows, primary keys, foreign keys, indexes.
SHARES = {"rows": 0.45, "primary keys": 0.12, "foreign keys": 0.13, "indexes": 0.25}
SETTINGS = {
    "lock_timeout": "30s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "warning",
    "maintenance_work_mem": "128MB",
    "max_parallel_maintenance_workers": "2",
    # No table or function of anybody's may stand in for one of PostgreSQL's.
    "search_path": "pg_catalog",
}
# Another load into the schema may take its time; somebody who only holds a lock may not.
TURN_TIMEOUT = "15min"


@dataclass(slots=True)
class Watch:
    """Where a load is: for the progress bar, for the report, and for the words of an error."""

    progress: Progress | None = None
    clock: Callable[[], float] = time.perf_counter
    doing: str = ""
    share: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, doing: str) -> Iterator[None]:
        """Count the seconds of the block under `name`."""
        self.doing = doing
        started = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - started

    def advance(self, share: float) -> None:
        """Show that this share more of the whole work is done."""
        self.share = min(1.0, self.share + share)
        if self.progress is not None:
            self.progress(self.doing, self.share)


@dataclass(slots=True)
class Transaction:
    """An ADBC connection inside its transaction, and the schema that it works on."""

    connection: Any
    schema: str
    record: str
    watch: Watch

    def execute(self, *statements: str) -> None:
        """Run statements, one by one (the protocol takes one at a time)."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


@dataclass(slots=True)
class Layout:
    """Under which names the load works, and what is to be done when the rows are in."""

    strategy: str
    prefix: str
    replaced: tuple[str, ...] = ()
    kept_keys: frozenset[str] = frozenset()
    outside_keys: tuple[OutsideKey, ...] = ()

    def at(self, name: str) -> str:
        """Return the name under which the table or index is built."""
        return fit_name(f"{self.prefix}{name}") if self.prefix else name


def load_in_transaction(
    transaction: Transaction,
    sources: Sequence[Source],
    *,
    fingerprint: str,
    run: Mapping[str, Any],
) -> str:
    """Load `sources` and write the record; the caller commits. Return the strategy."""
    watch = transaction.watch
    with watch.phase("prepare", _("preparing the schema")):
        _begin(transaction)
        layout = _prepare(transaction, [source.plan for source in sources])
    _fill(transaction, layout, sources)
    with watch.phase("check", _("counting the rows")):
        _verify_counts(transaction, layout, sources)
    _add_keys(transaction, layout, sources)
    with watch.phase("swap", _("putting the new tables in place")):
        if layout.strategy == "swap":
            _swap(transaction, layout, [source.plan for source in sources])
        for key in layout.outside_keys:
            transaction.execute(
                f"ALTER TABLE {quote(key.schema, key.table)} "
                f"ADD CONSTRAINT {quote(key.name)} {key.definition}"
            )
        for source in sources:
            name = source.plan.name
            transaction.execute(
                *comment_sql(transaction.schema, name, source.plan),
                *touch_trigger_sql(transaction.schema, name, transaction.record),
            )
        _write_record(transaction, sources, fingerprint, run)
    return layout.strategy


# --- before ----------------------------------------------------------------------------------


def _begin(transaction: Transaction) -> None:
    schema = transaction.schema
    transaction.execute(
        *(f"SET LOCAL {name} = {literal(value)}" for name, value in SETTINGS.items()),
        f"SET LOCAL lock_timeout = {literal(TURN_TIMEOUT)}",
        # Two loads into one schema take turns; the lock goes with the transaction.
        f"SELECT pg_advisory_xact_lock(hashtextextended({literal('vigie load ' + schema)}, 0))",
        f"SET LOCAL lock_timeout = {literal(SETTINGS['lock_timeout'])}",
    )
    if not schema_exists(transaction.rows, schema):
        transaction.execute(
            f"CREATE SCHEMA {quote(schema)}",
            f"COMMENT ON SCHEMA {quote(schema)} IS "
            + literal(_("Tables loaded by vigie; each load replaces their rows.")),
        )
    # The record's table outlives every load, so that a grant on it does too.
    transaction.execute(*record_table_sql(schema))


def _prepare(transaction: Transaction, plans: Sequence[TablePlan]) -> Layout:
    rows, schema = transaction.rows, transaction.schema
    relations = read_relations(rows, schema)
    records = read_records(rows, schema)
    mine = records.get(transaction.record, {})
    wanted = [plan.name for plan in plans]
    for name in wanted:
        if name in relations and not (name in mine and relations[name] == "r"):
            raise _collision(schema, name)
    existing = [name for name in mine if relations.get(name) == "r"]
    objects = {name for table in mine.values() for name in table["objects"]}
    objects |= {name for plan in plans for name in plan.own_objects()}
    if not find_dependents(rows, schema, existing, objects):
        for plan in plans:
            staged = fit_name(f"{STAGING_PREFIX}{plan.name}")
            transaction.execute(create_table_sql(schema, staged, plan))
        return Layout("swap", STAGING_PREFIX, replaced=tuple(existing))
    return _prepare_refill(transaction, plans, existing, objects)


def _collision(schema: str, name: str) -> DatabaseError:
    return DatabaseError(
        _("There is something called {name!r} that vigie did not make.").format(name=name),
        where=_("schema {schema}").format(schema=schema),
        fix=_("Rename it or move it to another schema: ALTER TABLE {table} RENAME TO …;").format(
            table=quote(schema, name)
        ),
    )


def _prepare_refill(
    transaction: Transaction,
    plans: Sequence[TablePlan],
    existing: Sequence[str],
    objects: Iterable[str],
) -> Layout:
    """Empty the tables, take their keys off, and bring their columns to the plan."""
    rows, schema = transaction.rows, transaction.schema
    tables = ", ".join(f"ONLY {quote(schema, name)}" for name in sorted(existing))
    transaction.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
    outside = find_outside_keys(rows, schema, existing)
    for key in outside:
        table = quote(key.schema, key.table)
        transaction.execute(f"ALTER TABLE {table} DROP CONSTRAINT {quote(key.name)}")
    for table, name, kind in find_own_objects(rows, schema, existing, objects):
        where = quote(schema, table)
        transaction.execute(
            f"DROP INDEX {quote(schema, name)}"
            if kind == "i"
            else f"ALTER TABLE {where} DROP CONSTRAINT {quote(name)}"
        )
    transaction.execute(f"TRUNCATE {tables}")
    obsolete = [name for name in existing if name not in {plan.name for plan in plans}]
    if obsolete:
        transaction.execute(f"DROP TABLE {', '.join(quote(schema, name) for name in obsolete)}")
    signatures = read_signatures(rows, schema, existing)
    for plan in plans:
        if plan.name in existing:
            _alter_columns(transaction, plan, signatures.get(plan.name, []))
        else:
            transaction.execute(create_table_sql(schema, plan.name, plan))
    kept = _tables_with_key(transaction, existing)
    return Layout("refill", "", kept_keys=kept, outside_keys=tuple(outside))


def _alter_columns(transaction: Transaction, plan: TablePlan, present: Sequence[str]) -> None:
    """Make the columns of an emptied table those of the plan; nothing is moved, it has no rows."""
    wanted = {column.signature(): column for column in plan.columns}
    if set(wanted) == set(present):
        return
    where = quote(transaction.schema, plan.name)
    names = {
        name
        for (name,) in transaction.rows(
            "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped "
            f"AND attrelid = {literal(where)}::regclass"
        )
    }
    for column in plan.columns:
        if column.name not in names:
            transaction.execute(f"ALTER TABLE {where} ADD COLUMN {column.sql(plan.name)}")
        elif column.signature() not in present:
            _alter_column(transaction, where, column)
    for name in sorted(names - {column.name for column in plan.columns}):
        transaction.execute(f"ALTER TABLE {where} DROP COLUMN {quote(name)}")


def _alter_column(transaction: Transaction, where: str, column: ColumnPlan) -> None:
    name = quote(column.name)
    collation = ' COLLATE "C"' if column.byte_order else ""
    null = "SET" if column.required else "DROP"
    transaction.execute(
        f"ALTER TABLE {where} ALTER COLUMN {name} {null} NOT NULL",
        # USING NULL: there is no row whose value it could be.
        f"ALTER TABLE {where} ALTER COLUMN {name} TYPE {column.type}{collation} USING NULL",
    )


def _tables_with_key(transaction: Transaction, names: Iterable[str]) -> frozenset[str]:
    schema = transaction.schema
    return frozenset(
        name
        for name in names
        if transaction.rows(
            "SELECT 1 FROM pg_constraint WHERE contype = 'p' "
            f"AND conrelid = to_regclass({literal(quote(schema, name))})"
        )
    )


# --- rows and keys ---------------------------------------------------------------------------


def _fill(transaction: Transaction, layout: Layout, sources: Sequence[Source]) -> None:
    total = sum(source.row_count for source in sources) or 1
    for source in sources:
        name = source.plan.name
        with transaction.watch.phase(
            f"rows of {name}", _("loading the rows of {table}").format(table=name)
        ):
            _copy(transaction, layout.at(name), source, SHARES["rows"] / total)


def _copy(transaction: Transaction, target: str, source: Source, share_per_row: float) -> None:
    """Send the batches through COPY in binary form."""
    rows = RowStream(source, lambda count: transaction.watch.advance(share_per_row * count))
    try:
        with transaction.connection.cursor() as cursor:
            cursor.adbc_ingest(
                target, rows.reader(), mode="append", db_schema_name=transaction.schema
            )
    except Exception:
        if rows.fault is not None:
            raise rows.fault from None
        raise


def _add_keys(transaction: Transaction, layout: Layout, sources: Sequence[Source]) -> None:
    """Add primary keys, foreign keys, indexes, in this order.

    Foreign keys come before indexes: with an index there the server checks a foreign key by
    walking it, which takes twice as long as hashing the referenced table.
    """
    schema, watch = transaction.schema, transaction.watch
    total = sum(source.row_count for source in sources) or 1
    work: list[tuple[str, str, int, str]] = []
    for source in sources:
        plan, name = source.plan, layout.at(source.plan.name)
        if plan.primary_key and plan.name not in layout.kept_keys:
            constraint = layout.at(plan.primary_key_name)
            statement = primary_key_sql(schema, name, plan, constraint)
            work.append(("primary keys", plan.name, source.row_count, statement))
    for source in sources:
        for key in source.plan.foreign_keys:
            name, target = layout.at(source.plan.name), layout.at(key.target)
            statement = foreign_key_sql(schema, name, key, target)
            work.append(("foreign keys", source.plan.name, source.row_count, statement))
    for source in sources:
        for index in source.plan.indexes:
            name = layout.at(source.plan.name)
            statement = index_sql(schema, name, index, layout.at(index.name))
            work.append(("indexes", source.plan.name, source.row_count, statement))
    doing = {
        "primary keys": _("adding the primary key of {table}"),
        "foreign keys": _("checking the foreign keys of {table}"),
        "indexes": _("building the indexes of {table}"),
    }
    for phase, table, row_count, statement in work:
        with watch.phase(phase, doing[phase].format(table=table)):
            transaction.execute(statement)
        parts = sum(1 for entry in work if entry[:2] == (phase, table))
        watch.advance(SHARES[phase] * row_count / total / parts)


def _verify_counts(transaction: Transaction, layout: Layout, sources: Sequence[Source]) -> None:
    for source in sources:
        where = quote(transaction.schema, layout.at(source.plan.name))
        ((count,),) = transaction.rows(f"SELECT count(*) FROM ONLY {where}")
        if count != source.row_count:
            raise DatabaseError(
                _("{table} has {count} rows in the database and {expected} in its file.").format(
                    table=source.plan.name, count=f"{count:,}", expected=f"{source.row_count:,}"
                ),
                fix=_("See whether a trigger or a rule on the table takes or adds rows."),
            )
        # The check of the foreign keys, and whoever queries next, get plans that fit the rows:
        # without statistics the check was planned as a join seven times as slow.
        transaction.execute(f"ANALYZE {where}")


# --- after -----------------------------------------------------------------------------------


def _swap(transaction: Transaction, layout: Layout, plans: Sequence[TablePlan]) -> None:
    schema = transaction.schema
    if layout.replaced:
        try:
            transaction.execute(
                f"DROP TABLE {', '.join(quote(schema, name) for name in layout.replaced)}"
            )
        except Exception as error:
            if read_failure(error).state == DEPENDENT_OBJECTS:
                # Somebody made a view meanwhile: the next try keeps the tables.
                raise Interference(str(error)) from error
            raise
    for plan in plans:
        statements = [
            f"ALTER TABLE {quote(schema, layout.at(plan.name))} RENAME TO {quote(plan.name)}"
        ]
        if plan.primary_key:
            statements.append(
                f"ALTER TABLE {quote(schema, plan.name)} RENAME CONSTRAINT "
                f"{quote_list([layout.at(plan.primary_key_name)])} TO "
                f"{quote(plan.primary_key_name)}"
            )
        statements += [
            f"ALTER INDEX {quote(schema, layout.at(index.name))} RENAME TO {quote(index.name)}"
            for index in plan.indexes
        ]
        transaction.execute(*statements)


def _write_record(
    transaction: Transaction, sources: Sequence[Source], fingerprint: str, run: Mapping[str, Any]
) -> None:
    tables = {
        source.plan.name: {
            "rows": source.row_count,
            "columns": sorted(column.signature() for column in source.plan.columns),
            "objects": source.plan.own_objects(),
        }
        for source in sources
    }
    values = [transaction.record, fingerprint]
    documents = [json.dumps(value, ensure_ascii=False, default=str) for value in (tables, run)]
    record = quote(transaction.schema, RECORD_TABLE)
    transaction.execute(
        f"INSERT INTO {record} (name, fingerprint, loaded_at, tables, run, touched_at) VALUES "
        f"({', '.join(literal(value) for value in values)}, clock_timestamp(), "
        f"{literal(documents[0])}::jsonb, {literal(documents[1])}::jsonb, NULL) "
        "ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, "
        "loaded_at = excluded.loaded_at, tables = excluded.tables, run = excluded.run, "
        "touched_at = NULL"
    )
