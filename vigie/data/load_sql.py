"""SQL text for a load; nothing here talks to a server. Names and values are quoted by psycopg."""

from __future__ import annotations

from collections.abc import Iterable

from vigie.data.load_plan import (
    RECORD_TABLE,
    ColumnPlan,
    ForeignKeyPlan,
    IndexPlan,
    TablePlan,
    fit_name,
)
from vigie.i18n import _

TOUCH_FUNCTION = "vigie_mark_touched"
TOUCH_TRIGGER = "vigie_touched"
RECORD_COLUMNS = (
    "name text PRIMARY KEY, fingerprint text NOT NULL, loaded_at timestamptz NOT NULL, "
    "tables jsonb NOT NULL, run jsonb NOT NULL, touched_at timestamptz"
)


def quote(*names: str) -> str:
    """Return the quoted, dotted identifier."""
    from psycopg import sql

    return sql.Identifier(*names).as_string(None)


def quote_list(names: Iterable[str]) -> str:
    """Return quoted identifiers with commas between them."""
    return ", ".join(quote(name) for name in names)


def literal(value: str | int | None) -> str:
    """Return the value as an SQL literal."""
    from psycopg import sql

    return sql.Literal(value).as_string(None).strip()


def text_array(values: Iterable[str]) -> str:
    """Return an SQL array of texts."""
    return f"ARRAY[{', '.join(literal(value) for value in values)}]::text[]"


def column_sql(column: ColumnPlan, table: str) -> str:
    """Return the definition for CREATE TABLE and ADD COLUMN of `table`.

    NOT NULL is named here because PostgreSQL 18 would name it after the staging table.
    """
    collation = ' COLLATE "C"' if column.byte_order else ""
    named = quote(fit_name(f"{table}_{column.name}_not_null"))
    required = f" CONSTRAINT {named} NOT NULL" if column.required else ""
    return f"{quote(column.name)} {column.type}{collation}{required}"


def create_table_sql(schema: str, name: str, plan: TablePlan) -> str:
    """Return CREATE TABLE without any key: those come when the rows are in."""
    columns = ", ".join(column_sql(column, plan.name) for column in plan.columns)
    return f"CREATE TABLE {quote(schema, name)} ({columns})"


def copy_sql(schema: str, name: str, plan: TablePlan) -> str:
    """Return the COPY that takes the rows in binary form, into a table of this transaction.

    Rows are written as frozen: whoever reads them first needs not note in each that its
    transaction was committed, which would write the whole table again. The server wants the table
    to be made or emptied in the same transaction for that, outside any savepoint, and no cursor
    open.
    """
    columns = quote_list(column.name for column in plan.columns)
    return f"COPY {quote(schema, name)} ({columns}) FROM STDIN (FORMAT binary, FREEZE)"


def primary_key_sql(schema: str, name: str, plan: TablePlan, constraint: str) -> str:
    """Return the statement that adds the primary key."""
    return (
        f"ALTER TABLE {quote(schema, name)} ADD CONSTRAINT {quote(constraint)} "
        f"PRIMARY KEY ({quote_list(plan.primary_key)})"
    )


def foreign_key_sql(schema: str, name: str, key: ForeignKeyPlan, target: str) -> str:
    """Return the statement that adds and validates a foreign key to the table `target`."""
    return (
        f"ALTER TABLE {quote(schema, name)} ADD CONSTRAINT {quote(key.name)} "
        f"FOREIGN KEY ({quote_list(key.columns)}) "
        f"REFERENCES {quote(schema, target)} ({quote_list(key.target_columns)})"
    )


def index_sql(schema: str, name: str, index: IndexPlan, index_name: str) -> str:
    """Return CREATE INDEX."""
    return (
        f"CREATE INDEX {quote(index_name)} ON {quote(schema, name)} ({quote_list(index.columns)})"
    )


def comment_sql(schema: str, name: str, plan: TablePlan) -> list[str]:
    """Return the COMMENT statements of a table and its columns."""
    where = quote(schema, name)
    statements = []
    if plan.comment:
        statements.append(f"COMMENT ON TABLE {where} IS {literal(plan.comment)}")
    statements += [
        f"COMMENT ON COLUMN {where}.{quote(column.name)} IS {literal(column.comment)}"
        for column in plan.columns
        if column.comment
    ]
    return statements


def record_table_sql(schema: str) -> list[str]:
    """Return what makes the table of load records and the function that marks them as touched.

    The function runs with its owner's rights: whoever may change a loaded table marks its record,
    without any right on the record itself.
    """
    record = quote(schema, RECORD_TABLE)
    function = quote(schema, TOUCH_FUNCTION)
    return [
        f"CREATE TABLE IF NOT EXISTS {record} ({RECORD_COLUMNS})",
        f"COMMENT ON TABLE {record} IS "
        + literal(_("What vigie loaded into this schema, written in the transaction of the load.")),
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
        + literal(
            f"BEGIN UPDATE {record} SET touched_at = clock_timestamp() "
            "WHERE name = TG_ARGV[0] AND touched_at IS NULL; RETURN NULL; END"
        ),
    ]


def touch_trigger_sql(schema: str, name: str, record: str) -> list[str]:
    """Return what makes any later change of the table's rows leave a mark in its record."""
    trigger, where = quote(TOUCH_TRIGGER), quote(schema, name)
    function = f"{quote(schema, TOUCH_FUNCTION)}({literal(record)})"
    events = "INSERT OR UPDATE OR DELETE OR TRUNCATE"
    return [
        f"DROP TRIGGER IF EXISTS {trigger} ON {where}",
        f"CREATE TRIGGER {trigger} AFTER {events} ON {where} EXECUTE FUNCTION {function}",
    ]
