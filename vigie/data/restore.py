"""Bringing a backup back: into a schema beside the live one, then into its place.

The live tables are not touched until the backup stands beside them whole. What follows is one
transaction, so that a kill at any moment leaves the old tables or the restored ones. Like a load it
either swaps the tables or, where people attached views, grants or keys to them, refills them.
Tables that the backup doesn't have stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.data.address import DatabaseAddress, mask_password
from vigie.data.backup import Backup, list_entries, verify_backup
from vigie.data.load_catalog import (
    find_dependents,
    find_outside_keys,
    read_records,
    read_relations,
    read_signatures,
    schema_exists,
)
from vigie.data.load_errors import as_database_error, read_failure
from vigie.data.load_plan import RECORD_TABLE
from vigie.data.load_sql import literal, quote, record_table_sql, touch_trigger_sql
from vigie.data.postgres_cluster import find_binary
from vigie.data.programs import connection_environment
from vigie.errors import DatabaseError, DataError
from vigie.i18n import _

_STAGING = "_restore_"
# Settings that only a newer server knows; they decide nothing here.
_UNKNOWN_TO_OLDER = (b"SET transaction_timeout = ",)


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did.

    Attributes
    ----------
    replaced
        Whether tables were there before.
    notes
        What could not be brought back, in sentences: grants to roles that don't exist.
    """

    schema: str
    row_counts: dict[str, int]
    replaced: bool
    notes: tuple[str, ...] = ()


def restore_backup(address: DatabaseAddress, path: Path, *, schema: str) -> RestoreReport:
    """Put the tables of the backup at `path` in the place of those of `schema`.

    Raises
    ------
    DataError
        When the backup is damaged or is one of another schema.
    DatabaseError
        When the server refuses; everything is as it was then.
    """
    backup = verify_backup(path)
    if backup.schema != schema:
        raise DataError(
            _("The backup is of schema {found}, not of {schema}.").format(
                found=backup.schema, schema=schema
            ),
            where=str(path),
            fix=_("Name the mode that it belongs to: --mode {mode}").format(
                mode=backup.schema.rpartition("_")[2]
            ),
        )
    import psycopg

    from vigie.data.load import conninfo

    try:
        with psycopg.connect(conninfo(address, "vigie restore"), autocommit=True) as connection:
            _take_turn(connection, address, schema)
            staging = f"{schema}{_STAGING}{secrets.token_hex(4)}"
            try:
                _stage(address, backup, staging)
                with connection.transaction():
                    return _Replacement(connection, backup, staging).carry_out()
            finally:
                with contextlib.suppress(psycopg.Error):
                    connection.execute(f"DROP SCHEMA IF EXISTS {quote(staging)} CASCADE")
    except psycopg.Error as error:
        raise as_database_error(
            read_failure(error), schema=schema, address=address.masked, doing=_("restoring")
        ) from error


def _take_turn(connection: Any, address: DatabaseAddress, schema: str) -> None:
    """Hold off other restores of the schema; remove what killed ones left."""
    turn = literal("vigie restore " + schema)
    row = connection.execute(f"SELECT pg_try_advisory_lock(hashtextextended({turn}, 0))").fetchone()
    if row is None or not row[0]:
        raise DatabaseError(
            _("Another restore of schema {schema} is at work.").format(schema=schema),
            where=address.masked,
            fix=_("Wait until it has ended."),
        )
    left = connection.execute(
        "SELECT nspname::text FROM pg_namespace "
        f"WHERE starts_with(nspname::text, {literal(schema + _STAGING)})"
    ).fetchall()
    for (name,) in left:
        connection.execute(f"DROP SCHEMA {quote(name)} CASCADE")


def _stage(address: DatabaseAddress, backup: Backup, staging: str) -> None:
    """Restore into a schema of another name, in one transaction.

    pg_restore knows no other name than the dump's: the live schema steps aside for it, unseen by
    others, and is back under its name when the transaction commits.
    """
    live, aside = quote(backup.schema), quote(f"{staging}_live")
    turn, name = literal("vigie load " + backup.schema), literal(backup.schema)
    begin = [
        "SET client_min_messages = warning;",
        f"SELECT pg_advisory_xact_lock(hashtextextended({turn}, 0)) AS turn \\gset",
        f"SELECT count(*) > 0 AS there FROM pg_namespace WHERE nspname = {name} \\gset",
        "\\if :there",
        f"ALTER SCHEMA {live} RENAME TO {aside};",
        "\\endif",
    ]
    end = [
        f"ALTER SCHEMA {live} RENAME TO {quote(staging)};",
        "\\if :there",
        f"ALTER SCHEMA {aside} RENAME TO {live};",
        "\\endif",
    ]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [str(find_binary("psql")), "--no-psqlrc", "--quiet", "--no-password",
             "--single-transaction", "--set=ON_ERROR_STOP=1", "--file=-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, **connection_environment(address), "LC_ALL": "C"},
        ) as psql,
    ):  # fmt: skip
        assert psql.stdin is not None
        failure = None
        try:
            psql.stdin.write("\n".join([*begin, ""]).encode())
            for line in _statements(backup.path, "--no-owner", "--no-privileges"):
                psql.stdin.write(line)
            psql.stdin.write("\n".join(["", *end, ""]).encode())
            psql.stdin.close()
        except BrokenPipeError:
            failure = "?"  # psql says why
        except BaseException:
            # Without its end, the transaction must not be committed.
            psql.kill()
            raise
        if psql.wait() or failure:
            said.seek(0)
            lines = mask_password(said.read().decode("utf-8", "replace")).strip().splitlines()
            raise DatabaseError(
                _("PostgreSQL refused: {message}").format(message=lines[0] if lines else "?"),
                where=address.masked,
                fix=_("Nothing was changed. Mend the cause, then run the same command again."),
            )


def _statements(path: Path, *options: str) -> Iterable[bytes]:
    """Yield the lines of the dump as SQL."""
    with subprocess.Popen(
        [str(find_binary("pg_restore")), *options, "--file=-", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if not line.startswith(_UNKNOWN_TO_OLDER):
                yield line
        if program.wait():
            raise DataError(
                _("The backup can't be read to its end."),
                where=str(path),
                fix=_("Restore another one."),
            )


class _Replacement:
    """The transaction that puts the staged tables in the place of the live ones."""

    def __init__(self, connection: Any, backup: Backup, staging: str) -> None:
        self.connection = connection
        self.backup = backup
        self.schema = backup.schema
        self.staging = staging
        self.notes: list[str] = []

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(query).fetchall())

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def carry_out(self) -> RestoreReport:
        turn = literal("vigie load " + self.schema)
        self.execute(
            "SET LOCAL lock_timeout = '30s'",
            "SET LOCAL client_min_messages = warning",
            f"SELECT pg_advisory_xact_lock(hashtextextended({turn}, 0))",
        )
        if not schema_exists(self.rows, self.schema):
            self.execute(f"CREATE SCHEMA {quote(self.schema)}")
        staged, live = (read_relations(self.rows, name) for name in (self.staging, self.schema))
        tables = [name for name, kind in staged.items() if kind == "r"]
        existing = [name for name in tables if live.get(name) == "r"]
        taken = [name for name in tables if name in live and name not in existing]
        if taken:
            raise self._refused(taken, _("Something else is called like these tables"))
        records = read_records(self.rows, self.staging) if RECORD_TABLE in tables else {}
        if find_dependents(self.rows, self.schema, existing, self._own_objects(records)):
            self._refill(tables, existing)
        else:
            self._swap(tables, existing, [n for n, k in staged.items() if k == "v"], live)
        self.execute(*record_table_sql(self.schema))
        for record, loaded in records.items():
            for name in loaded:
                self.execute(*touch_trigger_sql(self.schema, name, record))
        self._check_counts()
        return RestoreReport(self.schema, self.backup.row_counts, bool(existing), tuple(self.notes))

    def _own_objects(self, staged_records: dict[str, dict[str, Any]]) -> set[str]:
        live = read_relations(self.rows, self.schema)
        records = [staged_records]
        if RECORD_TABLE in live:
            records.append(read_records(self.rows, self.schema))
        return {
            name
            for record in records
            for tables in record.values()
            for table in tables.values()
            for name in table["objects"]
        } | {f"{RECORD_TABLE}_pkey"}

    def _swap(
        self, tables: Sequence[str], existing: Sequence[str], views: Sequence[str], live: Any
    ) -> None:
        if existing:
            names = ", ".join(quote(self.schema, name) for name in existing)
            # The function of the triggers stays: it is the live schema's own.
            self.execute(f"DROP TABLE {names}")
        for name in tables:
            self._move("TABLE", name)
        for name in views:
            if name in live:
                self.notes.append(_("The view {name} is there already.").format(name=name))
            else:
                self._move("VIEW", name)
        self._grant()

    def _move(self, kind: str, name: str) -> None:
        where = quote(self.staging, name)
        self.execute(f"ALTER {kind} {where} SET SCHEMA {quote(self.schema)}")

    def _refill(self, tables: Sequence[str], existing: Sequence[str]) -> None:
        """Fill the tables that people attached things to; they stay the same objects."""
        here = read_signatures(self.rows, self.schema, existing)
        there = read_signatures(self.rows, self.staging, existing)
        changed = [name for name in existing if sorted(here[name]) != sorted(there[name])]
        if changed:
            raise self._refused(
                changed,
                _("Something hangs on these tables, and the backup has other columns for them"),
            )
        outside = find_outside_keys(self.rows, self.schema, existing)
        for key in outside:
            table = quote(key.schema, key.table)
            self.execute(f"ALTER TABLE {table} DROP CONSTRAINT {quote(key.name)}")
        names = ", ".join(f"ONLY {quote(self.schema, name)}" for name in sorted(existing))
        self.execute(f"TRUNCATE {names}")
        for name in self._referenced_first(existing):
            columns = ", ".join(quote(column) for column in self._columns(name))
            self.execute(
                f"INSERT INTO {quote(self.schema, name)} ({columns}) OVERRIDING SYSTEM VALUE "
                f"SELECT {columns} FROM {quote(self.staging, name)}"
            )
        for name in tables:
            if name not in existing:
                self._move("TABLE", name)
        for key in outside:
            self.execute(
                f"ALTER TABLE {quote(key.schema, key.table)} "
                f"ADD CONSTRAINT {quote(key.name)} {key.definition}"
            )

    def _columns(self, table: str) -> list[str]:
        return [
            str(name)
            for (name,) in self.rows(
                "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped "
                f"AND attrelid = {literal(quote(self.staging, table))}::regclass ORDER BY attnum"
            )
        ]

    def _referenced_first(self, tables: Iterable[str]) -> list[str]:
        """Return the tables so that each comes after those it refers to; the record comes last."""
        pairs = self.rows(
            "SELECT c.relname::text, f.relname::text FROM pg_constraint k "
            "JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE k.contype = 'f' AND n.nspname = {literal(self.schema)} AND k.conrelid <> "
            "k.confrelid"
        )
        left = sorted(set(tables), key=lambda name: (name == RECORD_TABLE, name))
        ordered: list[str] = []
        while left:
            waiting = {name for name, other in pairs if other in left}
            ready = [name for name in left if name not in waiting] or left
            # Filling a table marks the record as touched: the record's own rows come after.
            ready = [name for name in ready if name != RECORD_TABLE] or ready
            ordered += ready
            left = [name for name in left if name not in ready]
        return ordered

    def _grant(self) -> None:
        """Give the grants of the backup again, but for roles that this server doesn't know."""
        import psycopg

        for statement in _grants(self.backup.path):
            try:
                with self.connection.transaction():
                    self.execute(statement)
            except (psycopg.errors.UndefinedObject, psycopg.errors.InsufficientPrivilege) as error:
                self.notes.append(str(error).splitlines()[0])

    def _check_counts(self) -> None:
        for name, expected in self.backup.row_counts.items():
            [(count,)] = self.rows(f"SELECT count(*) FROM {quote(self.schema, name)}")
            if count != expected:
                raise self._refused(
                    [name],
                    _("{count} rows instead of {expected}").format(count=count, expected=expected),
                )

    def _refused(self, names: Sequence[str], reason: str) -> DatabaseError:
        return DatabaseError(
            _("The backup can't take the place of the live tables. {reason}: {names}").format(
                reason=reason, names=", ".join(names)
            ),
            where=_("schema {schema}").format(schema=self.schema),
            fix=_("Nothing was changed. Move or drop what is named here, then restore again."),
        )


def _grants(path: Path) -> list[str]:
    """Return the dump's GRANT and REVOKE statements."""
    entries = [line for line in list_entries(path) if " ACL " in line]
    if not entries:
        return []
    with tempfile.NamedTemporaryFile("w", suffix=".list", encoding="utf-8") as chosen:
        chosen.write("\n".join(entries) + "\n")
        chosen.flush()
        text = b"".join(_statements(path, "--no-owner", f"--use-list={chosen.name}"))
    lines = text.decode("utf-8").splitlines()
    return [line for line in lines if line.startswith(("GRANT ", "REVOKE "))]
