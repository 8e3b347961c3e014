"""Before the rows of a load come: settings, the schema, and empty tables to fill."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from vigie.data.load_catalog import (
    find_dependents,
    find_outside_keys,
    find_own_objects,
    read_records,
    read_relations,
    read_signatures,
    schema_exists,
)
from vigie.data.load_plan import STAGING_PREFIX, ColumnPlan, TablePlan, fit_name
from vigie.data.load_sql import (
    column_sql,
    create_table_sql,
    literal,
    quote,
    record_table_sql,
)
from vigie.data.load_transaction import Layout, Transaction
from vigie.errors import DatabaseError
from vigie.i18n import _

SETTINGS = {
    "lock_timeout": "30s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "warning",
    # A load that is reported as done must outlive a crash, whatever the server's default.
    "synchronous_commit": "on",
    "jit": "off",
    "maintenance_work_mem": "128MB",
    # No table or function of anybody's may stand in for one of PostgreSQL's.
    "search_path": "pg_catalog",
}
# Where the server can (from 14, not on Windows): a killed loader's work ends within two seconds,
# not when its index is built, and its locks with it.
NOTICE_LOST_CLIENT = (
    "SELECT set_config(name, '2s', true) FROM pg_settings "
    "WHERE name = 'client_connection_check_interval' "
    "AND current_setting('dynamic_shared_memory_type') <> 'windows'"
)
# Another load into the schema may take its time; somebody who only holds a lock may not.
TURN_TIMEOUT = "15min"


def begin(transaction: Transaction) -> None:
    """Set the transaction up, wait for other loads' turn, and see that the schema is there."""
    schema = transaction.schema
    transaction.execute(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
        *(f"SET LOCAL {name} = {literal(value)}" for name, value in SETTINGS.items()),
        NOTICE_LOST_CLIENT,
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


def prepare(transaction: Transaction, plans: Sequence[TablePlan]) -> Layout:
    """Choose between swap and refill, and make empty tables without keys for all plans.

    Raises
    ------
    DatabaseError
        When somebody else uses one of the names.
    """
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
        return Layout("swap", STAGING_PREFIX, tuple(existing), frozenset(objects))
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
    kept = _kept_keys(transaction, plans)
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
            transaction.execute(f"ALTER TABLE {where} ADD COLUMN {column_sql(column, plan.name)}")
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


def _kept_keys(transaction: Transaction, plans: Iterable[TablePlan]) -> frozenset[str]:
    """Return the tables whose primary key stayed because something of people's depends on it.

    Where it has other columns than the plan wants, dropping it makes the server say what depends.
    """
    kept = set()
    for plan in plans:
        where = quote(transaction.schema, plan.name)
        found = transaction.rows(
            "SELECT k.conname::text, json_agg(a.attname ORDER BY a.attname)::text "
            "FROM pg_constraint k JOIN pg_attribute a "
            "ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) WHERE k.contype = 'p' "
            f"AND k.conrelid = to_regclass({literal(where)}) GROUP BY k.oid, k.conname"
        )
        for name, columns in found:
            if json.loads(columns) == sorted(plan.primary_key):
                kept.add(plan.name)
            else:
                transaction.execute(f"ALTER TABLE {where} DROP CONSTRAINT {quote(name)}")
    return frozenset(kept)
