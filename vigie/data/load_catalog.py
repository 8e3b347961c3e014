"""What stands in the schema before a load: vigie's own tables, and what people attached to them.

Every query goes through a callable from SQL to rows, so that both drivers serve.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vigie.data.load_plan import RECORD_TABLE
from vigie.data.load_sql import TOUCH_TRIGGER, literal, quote, text_array

Rows = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class OutsideKey:
    """A foreign key of somebody else's table that refers to a loaded one."""

    schema: str
    table: str
    name: str
    definition: str


def schema_exists(rows: Rows, schema: str) -> bool:
    """Whether the schema is there; CREATE SCHEMA IF NOT EXISTS would ask for rights first."""
    return bool(rows(f"SELECT 1 FROM pg_namespace WHERE nspname = {literal(schema)}"))


def read_relations(rows: Rows, schema: str) -> dict[str, str]:
    """Return the kind (``r``, ``v`` …) of everything in the schema that has a table's name."""
    found = rows(
        "SELECT c.relname::text, c.relkind::text FROM pg_class c "
        f"WHERE c.relnamespace = {_schema_oid(schema)}"
    )
    return dict(found)


def read_records(rows: Rows, schema: str) -> dict[str, dict[str, Any]]:
    """Return for each record (``tables``, ``predictions``) what was loaded, table by table."""
    found = rows(f"SELECT name, tables::text FROM {quote(schema, RECORD_TABLE)}")
    return {name: json.loads(tables) for name, tables in found}


def read_signatures(rows: Rows, schema: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the definition of each column of each table, as ``ColumnPlan.signature`` writes it."""
    return {table: json.loads(columns) for table, columns in rows(signatures_sql(schema, names))}


def signatures_sql(schema: str, names: Iterable[str]) -> str:
    """Return the query for the names of tables and their columns' definitions as JSON."""
    return (
        "SELECT c.relname::text, json_agg(concat_ws(' ', a.attname, "
        "format_type(a.atttypid, a.atttypmod), "
        "CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END, "
        "CASE WHEN a.attcollation <> t.typcollation THEN l.collname END) "
        "ORDER BY a.attnum)::text "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid "
        "LEFT JOIN pg_collation l ON l.oid = a.attcollation "
        f"WHERE c.relnamespace = {_schema_oid(schema)} AND c.relkind = 'r' "
        f"AND c.relname = ANY ({text_array(names)}) GROUP BY c.relname"
    )


def find_dependents(
    rows: Rows, schema: str, names: Iterable[str], own_objects: Iterable[str]
) -> list[str]:
    """Return what people attached to the tables and a new table would not have.

    Views, grants, policies, triggers, indexes, statistics, publications, functions that use the
    row type, another owner, storage options: whatever PostgreSQL records as depending on them
    that vigie did not make itself.
    """
    ours, own = _ours(schema, names), text_array(own_objects)
    found = rows(
        f"WITH ours AS ({ours}) "
        "SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) FROM ours o "
        "JOIN pg_depend d ON d.deptype IN ('n', 'a') AND ("
        "(d.refclassid = 'pg_class'::regclass AND d.refobjid = o.oid) OR "
        "(d.refclassid = 'pg_type'::regclass AND d.refobjid = o.reltype)) "
        "LEFT JOIN pg_constraint k "
        "ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid "
        "LEFT JOIN pg_class i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid "
        "LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid "
        "WHERE NOT coalesce(k.conrelid IN (SELECT oid FROM ours) "
        f"AND (k.contype = 'n' OR k.conname = ANY ({own})), false) "
        f"AND NOT coalesce(i.relkind = 'i' AND i.relname = ANY ({own}), false) "
        f"AND NOT coalesce(t.tgisinternal OR t.tgname = {literal(TOUCH_TRIGGER)}, false) "
        "UNION SELECT 'grants on ' || o.relname FROM ours o WHERE o.relacl IS NOT NULL OR EXISTS "
        "(SELECT 1 FROM pg_attribute a WHERE a.attrelid = o.oid AND a.attacl IS NOT NULL) "
        "UNION SELECT 'options of ' || o.relname FROM ours o WHERE o.reloptions IS NOT NULL "
        "OR o.relrowsecurity OR o.relreplident <> 'd' OR o.reltablespace <> 0 "
        "UNION SELECT 'owner of ' || o.relname FROM ours o "
        "WHERE pg_get_userbyid(o.relowner) <> current_user"
    )
    return sorted(str(description) for (description,) in found)


def find_outside_keys(rows: Rows, schema: str, names: Iterable[str]) -> list[OutsideKey]:
    """Return the foreign keys by which other people's tables refer to these."""
    found = rows(
        f"WITH ours AS ({_ours(schema, names)}) "
        "SELECT n.nspname::text, c.relname::text, k.conname::text, pg_get_constraintdef(k.oid) "
        "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE k.contype = 'f' AND k.conparentid = 0 "
        "AND k.confrelid IN (SELECT oid FROM ours) AND k.conrelid NOT IN (SELECT oid FROM ours)"
    )
    return [OutsideKey(*row) for row in found]


def find_own_objects(
    rows: Rows, schema: str, names: Iterable[str], own_objects: Iterable[str]
) -> list[tuple[str, str, str]]:
    """Return table, name and kind of vigie's constraints (``p``, ``f``) and indexes (``i``).

    A primary key that something of people's depends on (a view that groups by it) is not
    among them: it stays where it is.
    """
    ours, own = _ours(schema, names), text_array(own_objects)
    found = rows(
        f"WITH ours AS ({ours}) "
        "SELECT o.relname::text, k.conname::text, k.contype::text FROM pg_constraint k "
        "JOIN ours o ON o.oid = k.conrelid WHERE k.contype IN ('p', 'f') "
        f"AND k.conname = ANY ({own}) AND NOT EXISTS (SELECT 1 FROM pg_depend d "
        "WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid "
        "AND d.deptype = 'n') "
        "UNION ALL SELECT o.relname::text, i.relname::text, 'i' FROM pg_index x "
        "JOIN ours o ON o.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid "
        f"WHERE i.relname = ANY ({own}) AND NOT EXISTS (SELECT 1 FROM pg_constraint k "
        "WHERE k.conindid = i.oid AND k.conrelid = o.oid)"
    )
    # Foreign keys first: a primary key does not go while one refers to it.
    return sorted((tuple(row) for row in found), key=lambda row: "fip".index(row[2]))


def _schema_oid(schema: str) -> str:
    return f"(SELECT oid FROM pg_namespace WHERE nspname = {literal(schema)})"


def _ours(schema: str, names: Iterable[str]) -> str:
    return (
        "SELECT c.oid, c.relname, c.reltype, c.relacl, c.relowner, c.reloptions, "
        "c.relrowsecurity, c.relreplident, c.reltablespace FROM pg_class c "
        f"WHERE c.relnamespace = {_schema_oid(schema)} AND c.relkind = 'r' "
        f"AND c.relname = ANY ({text_array(names)})"
    )
