"""Loaded tables as an artifact: what the database itself says about them.

The record was written in the load's transaction; a trigger on each table leaves a mark in it when
anybody changes rows later. So the state costs one short query, whatever the size of the tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.data.load_catalog import signatures_sql
from vigie.data.load_errors import as_database_error, read_failure
from vigie.data.load_plan import RECORD_TABLE
from vigie.data.load_sql import TOUCH_TRIGGER, literal, quote, text_array
from vigie.data.tables_memory import NUMBER_SQL, TablesMemory, memory_of, number_text
from vigie.i18n import _

if TYPE_CHECKING:
    from vigie.data.address import DatabaseAddress
    from vigie.paths import ProjectPaths
    from vigie.settings import LoadedSettings

CONNECT_TIMEOUT_SECONDS = 2
# By the name of the artifact.
RECORDS = {"database": "tables", "predictions_table": "predictions"}


@dataclass(frozen=True, slots=True)
class TablesArtifact:
    """The tables of one record in one schema.

    Parameters
    ----------
    name
        The name that steps declare.
    schema
        Where they are.
    record
        ``"tables"`` (all declared ones and the cohort) or ``"predictions"``.
    address_provider
        Opens the database when it is first asked for.
    memory
        Knows the state while the embedded server sleeps; None asks the server each time.
    """

    name: str
    schema: str
    record: str
    address_provider: Callable[[], DatabaseAddress]
    memory: TablesMemory | None = None

    def state(self) -> str | None:
        """Return a digest of what was loaded and of later changes; None where a table is missing.

        Rows changed by hand, columns altered, keys or indexes dropped, tables made anew: each
        changes the digest. The time of the load does not.

        Raises
        ------
        DatabaseError
            When the server can't be asked.
        """
        if self.memory is not None:
            known = self.memory.recall(self.schema, self.record)
            if known is not None:
                return known[0]

        import psycopg

        from vigie.data.load import conninfo

        address = self.address_provider()
        try:
            with psycopg.connect(
                conninfo(address, "vigie state", connect_timeout=CONNECT_TIMEOUT_SECONDS)
            ) as connection:
                return _read_state(connection, self.schema, self.record)
        except psycopg.Error as error:
            raise as_database_error(
                read_failure(error),
                schema=self.schema,
                address=address.masked,
                doing=_("asking for the state of the tables"),
            ) from error

    def describe(self) -> str:
        """Return the schema, and the table where it is only one."""
        name = self.schema if self.record == "tables" else f"{self.schema}.{self.record}"
        return f"PostgreSQL: {name}"


def database_artifacts(
    settings: LoadedSettings, paths: ProjectPaths, address_provider: Callable[[], DatabaseAddress]
) -> list[TablesArtifact]:
    """Return the artifacts of a mode that are in the database."""
    memory = memory_of(settings, paths)
    return [
        TablesArtifact(name, paths.schema, record, address_provider, memory)
        for name, record in RECORDS.items()
    ]


def remember_tables(
    settings: LoadedSettings, paths: ProjectPaths, address: DatabaseAddress
) -> None:
    """Look at the mode's tables and at all that was remembered, and remember what they are now.

    Nothing is where the server isn't the embedded one, nor while a transaction is under way that
    may yet change something: the next run then asks the server.

    Raises
    ------
    psycopg.Error, OSError
        When the server can't be asked, or the file not be written.
    """
    memory = memory_of(settings, paths)
    if memory is None:
        return
    import psycopg

    from vigie.data.load import conninfo

    own = {(paths.schema, record) for record in RECORDS.values()}
    with psycopg.connect(
        conninfo(address, "vigie state", connect_timeout=CONNECT_TIMEOUT_SECONDS)
    ) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        identity, first, following = connection.execute(NUMBER_SQL).fetchall()[0]
        if first == following:
            tables = sorted(own.union(memory.names()))
            states = [(*one, _read_state(connection, *one)) for one in tables]
            memory.keep(number_text(identity, following), states)


def _read_state(connection: Any, schema: str, record: str) -> str | None:
    content = _read_content(connection, schema, record)
    if content is None:
        return None
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_content(connection: Any, schema: str, record: str) -> dict[str, Any] | None:
    def rows(query: str) -> list[tuple[Any, ...]]:
        return list(connection.execute(query).fetchall())

    where = quote(schema, RECORD_TABLE)
    if rows(f"SELECT to_regclass({literal(where)})") == [(None,)]:
        return None
    found = rows(
        f"SELECT fingerprint, tables::text, touched_at::text FROM {where} "
        f"WHERE name = {literal(record)}"
    )
    if not found:
        return None
    fingerprint, text, touched_at = found[0]
    tables: dict[str, Any] = json.loads(text)
    present = {
        name: sorted(json.loads(columns)) for name, columns in rows(signatures_sql(schema, tables))
    }
    if set(present) != set(tables):
        return None
    objects = [name for table in tables.values() for name in table["objects"]]
    return {
        "fingerprint": fingerprint,
        "rows": {name: table["rows"] for name, table in tables.items()},
        "touched_at": touched_at,
        "columns": present,
        "objects": rows(_objects_sql(schema, list(tables), objects)),
    }


def _objects_sql(schema: str, tables: list[str], objects: list[str]) -> str:
    """Return the query for vigie's own keys, indexes and triggers that are still there."""
    ours = (
        "SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {literal(schema)} AND c.relname = ANY ({text_array(tables)})"
    )
    own = text_array(objects)
    return (
        f"WITH ours AS ({ours}) "
        "SELECT o.relname::text, k.conname::text FROM pg_constraint k "
        f"JOIN ours o ON o.oid = k.conrelid WHERE k.conname = ANY ({own}) "
        "UNION SELECT o.relname::text, i.relname::text FROM pg_index x "
        "JOIN ours o ON o.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid "
        f"WHERE i.relname = ANY ({own}) "
        "UNION SELECT o.relname::text, 'trigger ' || t.tgenabled::text FROM pg_trigger t "
        f"JOIN ours o ON o.oid = t.tgrelid WHERE t.tgname = {literal(TOUCH_TRIGGER)} "
        "ORDER BY 1, 2"
    )
