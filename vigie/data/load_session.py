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
from collections.abc import Mapping, Sequence
from typing import Any

from vigie.data.load_catalog import find_dependents
from vigie.data.load_errors import Interference
from vigie.data.load_plan import RECORD_TABLE, TablePlan
from vigie.data.load_prepare import begin, prepare
from vigie.data.load_rows import Source, copy_bytes
from vigie.data.load_sql import (
    comment_sql,
    copy_sql,
    foreign_key_sql,
    index_sql,
    literal,
    primary_key_sql,
    quote,
    quote_list,
    touch_trigger_sql,
)
from vigie.data.load_transaction import Layout, Transaction
from vigie.errors import DatabaseError
from vigie.i18n import _

# Of the work, by measurement on the whole of OULAD: rows, primary keys, foreign keys, indexes.
SHARES = {"rows": 0.45, "primary keys": 0.12, "foreign keys": 0.13, "indexes": 0.25}


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
        begin(transaction)
        layout = prepare(transaction, [source.plan for source in sources])
    stored = _fill(transaction, layout, sources)
    with watch.phase("check", _("checking the rows")):
        _verify_counts(transaction, layout, sources, stored)
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


# --- rows and keys ---------------------------------------------------------------------------


def _fill(transaction: Transaction, layout: Layout, sources: Sequence[Source]) -> list[int]:
    """Send all rows, and return how many of each source the server says it has stored."""
    stored: list[int] = []
    total = sum(source.row_count for source in sources) or 1
    for source in sources:
        name = source.plan.name
        with transaction.watch.phase(
            f"rows of {name}", _("loading the rows of {table}").format(table=name)
        ):
            stored.append(_copy(transaction, layout.at(name), source, SHARES["rows"] / total))
    return stored


def _copy(transaction: Transaction, target: str, source: Source, share_per_row: float) -> int:
    """Send the rows through COPY in binary form; return how many the server has stored."""
    statement = copy_sql(transaction.schema, target, source.plan)
    with transaction.connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for piece, rows in copy_bytes(source.plan, source.open_chunks()):
                copy.write(piece)
                transaction.watch.advance(share_per_row * rows)
        return int(cursor.rowcount)


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


def _verify_counts(
    transaction: Transaction, layout: Layout, sources: Sequence[Source], stored: Sequence[int]
) -> None:
    for source, told in zip(sources, stored, strict=True):
        where = quote(transaction.schema, layout.at(source.plan.name))
        count = told
        if layout.strategy == "refill":
            # What people's triggers did after the rows were stored, COPY doesn't tell.
            count = transaction.rows(f"SELECT count(*) FROM ONLY {where}")[0][0]
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
        old = ", ".join(quote(schema, name) for name in sorted(layout.replaced))
        transaction.execute(f"LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE")
        if find_dependents(transaction.rows, schema, layout.replaced, layout.objects):
            # Somebody made a view or gave a grant meanwhile: the next try keeps the tables.
            raise Interference(_("something was attached to the tables during the load"))
        transaction.execute(f"DROP TABLE {old}")
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
