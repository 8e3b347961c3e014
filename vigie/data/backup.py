"""Backups of one schema: a dump of PostgreSQL's own, and beside it what is known of it.

A dump counts only with its description (``.json``), which is written last: a killed backup leaves
nothing that looks like one. Row counts and dump are of the same snapshot.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vigie.data.address import DatabaseAddress, mask_password, shown_version
from vigie.data.load_errors import as_database_error, read_failure
from vigie.data.load_sql import literal, quote
from vigie.data.postgres_cluster import find_binary
from vigie.data.postgres_process import becoming
from vigie.data.programs import connection_environment, run_to_end
from vigie.errors import DatabaseError, DataError
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write, file_sha256, write_json

FORMAT = 1
STAMP = "%Y%m%dT%H%M%S.%fZ"
# A dump without its description is that of a backup that still goes on, or was killed.
_UNFINISHED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole.

    Attributes
    ----------
    path
        The dump, in pg_dump's custom format.
    made_at
        ISO 8601, UTC.
    row_counts
        Rows by table.
    server_version
        Of the server that was dumped, ``"18.4"``.
    """

    path: Path
    schema: str
    made_at: str
    bytes: int
    sha256: str
    row_counts: dict[str, int]
    server_version: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the path's name only: a folder of backups may be moved."""
        return {**asdict(self), "path": self.path.name, "format": FORMAT}


def backup_schema(
    address: DatabaseAddress, schema: str, folder: Path, *, now: datetime, keep: int
) -> Backup:
    """Dump `schema` into `folder`, verify the dump, then remove the oldest beyond `keep`.

    Raises
    ------
    DatabaseError
        When the server or pg_dump refuses; no backup was made or removed then.
    DataError
        When the dump lacks a table.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_unfinished(folder, schema)
    path = folder / f"{schema}_{now.astimezone(UTC):{STAMP}}.dump"
    with atomic_write(path) as temporary:
        counts, version = _dump(address, schema, temporary)
        _check_listing(temporary, counts)
        size, digest = temporary.stat().st_size, file_sha256(temporary)
    made_at = now.astimezone(UTC).isoformat(timespec="milliseconds")
    backup = Backup(path, schema, made_at, size, digest, counts, version)
    write_json(_sidecar(path), backup.to_json())
    for old in [one for one in list_backups(folder) if one.schema == schema][max(1, keep) :]:
        # The description first: a dump alone counts as nothing.
        _sidecar(old.path).unlink(missing_ok=True)
        old.path.unlink(missing_ok=True)
    return backup


def has_tables(address: DatabaseAddress, schema: str) -> bool:
    """Return whether `schema` is there and has a table.

    Raises
    ------
    DatabaseError
        When the server refuses.
    """
    import psycopg

    from vigie.data.load import conninfo

    try:
        with psycopg.connect(conninfo(address, "vigie backup")) as connection:
            return bool(_table_names(connection, schema))
    except psycopg.Error as error:
        raise as_database_error(
            read_failure(error), schema=schema, address=address.masked, doing=_("backing up")
        ) from error


def list_backups(folder: Path) -> list[Backup]:
    """Return the backups in `folder`, the newest first; what is damaged is left out."""
    found = []
    for sidecar in folder.glob("*.json"):
        with contextlib.suppress(DataError):
            found.append(_read(sidecar.with_suffix(".dump")))
    return sorted(found, key=lambda backup: (backup.made_at, backup.path.name), reverse=True)


def verify_backup(path: Path) -> Backup:
    """Return what is known of the dump at `path`, after its checksum and its list were checked.

    Raises
    ------
    DataError
        When it is missing, changed, cut off, or has no description.
    """
    backup = _read(path)
    if file_sha256(path) != backup.sha256:
        raise DataError(
            _("The backup is not as it was made: its checksum differs."),
            where=str(path),
            fix=_("Restore another one: {names}.").format(names=_others(path)),
        )
    _check_listing(path, backup.row_counts)
    return backup


def _read(path: Path) -> Backup:
    try:
        content = json.loads(_sidecar(path).read_bytes())
        backup = Backup(
            path=path,
            schema=str(content["schema"]),
            made_at=datetime.fromisoformat(content["made_at"]).isoformat(timespec="milliseconds"),
            bytes=int(content["bytes"]),
            sha256=str(content["sha256"]),
            row_counts={str(name): int(rows) for name, rows in content["row_counts"].items()},
            server_version=str(content["server_version"]),
        )
        size = path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else _("its description is damaged")
        raise DataError(
            _("There is no whole backup of this name: {reason}").format(reason=reason),
            where=str(path),
            fix=_("Name one of: {names}.").format(names=_others(path)),
        ) from error
    if size != backup.bytes:
        raise DataError(
            _("The backup is cut off: {size} bytes instead of {expected}.").format(
                size=size, expected=backup.bytes
            ),
            where=str(path),
            fix=_("Restore another one: {names}.").format(names=_others(path)),
        )
    return backup


def _others(path: Path) -> str:
    names = [sidecar.with_suffix(".dump").name for sidecar in path.parent.glob("*.json")]
    return ", ".join(sorted({name for name in names if name != path.name}, reverse=True)) or "–"


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _dump(address: DatabaseAddress, schema: str, target: Path) -> tuple[dict[str, int], str]:
    """Write the dump; return rows by table in the same snapshot, and the server's version."""
    import psycopg

    from vigie.data.load import conninfo

    try:
        with psycopg.connect(conninfo(address, "vigie backup")) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert snapshot is not None
            names = _table_names(connection, schema)
            if not names:
                raise DatabaseError(
                    _("There is nothing to back up: schema {schema} has no tables.").format(
                        schema=schema
                    ),
                    where=address.masked,
                    fix=_("Load it first: vigie run --mode {mode}").format(
                        mode=schema.rpartition("_")[2]
                    ),
                )
            counts = {
                name: int(_single(connection, f"SELECT count(*) FROM {quote(schema, name)}"))
                for name in names
            }
            number = connection.info.server_version
            _run_program(
                address,
                "pg_dump",
                "--format=custom",
                # A third of the default's time for a third more bytes; each rerun of prod waits
                # for it. Every pg_dump understands it, unlike zstd.
                "--compress=1",
                # In double quotes it is a name, not a pattern.
                f"--schema={quote(schema)}",
                "--lock-wait-timeout=30s",
                "--no-password",
                f"--snapshot={snapshot[0]}",
                f"--file={target}",
            )
    except psycopg.Error as error:
        raise as_database_error(
            read_failure(error), schema=schema, address=address.masked, doing=_("backing up")
        ) from error
    return counts, shown_version(number)


def _table_names(connection: Any, schema: str) -> list[str]:
    rows = connection.execute(
        "SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p') AND n.nspname = {literal(schema)} ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows]


def _single(connection: Any, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def _run_program(address: DatabaseAddress, program: str, *arguments: str) -> None:
    done = run_to_end(
        [str(find_binary(program)), *arguments],
        env={**os.environ, **connection_environment(address), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Whoever kills the run, or stops it while this goes on beside a step, ends this too.
        preexec_fn=becoming(None, mortal=True),
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        lines = mask_password(done.stderr).strip().splitlines() or [f"exit {done.returncode}"]
        raise DatabaseError(
            _("{program} refused: {reason}").format(program=program, reason=lines[0]),
            where=address.masked,
            fix=_("Nothing was changed. Mend the cause, then run the same command again."),
        )


def _check_listing(path: Path, tables: Sequence[str] | dict[str, int]) -> None:
    """See that the dump can be read and has the data of every table."""
    listed = list_entries(path)
    missing = [name for name in tables if not any(_is_data_of(line, name) for line in listed)]
    if missing:
        raise DataError(
            _("The dump lacks the tables {names}.").format(names=", ".join(missing)),
            where=str(path),
            fix=_("Make another backup."),
        )


def list_entries(path: Path) -> list[str]:
    """Return the lines of the dump's table of contents.

    Raises
    ------
    DataError
        When pg_restore can't read the file.
    """
    done = subprocess.run(
        [str(find_binary("pg_restore")), "--list", str(path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        raise DataError(
            _("The file is no backup that can be read: {reason}").format(
                reason=(done.stderr.strip().splitlines() or ["?"])[0]
            ),
            where=str(path),
            fix=_("Name one that `vigie backup` made."),
        )
    return [line for line in done.stdout.splitlines() if line and not line.startswith(";")]


def _is_data_of(line: str, table: str) -> bool:
    # "3456; 0 16400 TABLE DATA vigie_dev cohort vigie": the owner comes last, unquoted.
    _head, mark, rest = line.partition(" TABLE DATA ")
    return bool(mark) and f" {table} " in f" {rest.partition(' ')[2]} "


def _remove_unfinished(folder: Path, schema: str) -> None:
    for dump in folder.glob(f"{schema}_*.dump"):
        with contextlib.suppress(OSError):
            old = time.time() - dump.stat().st_mtime > _UNFINISHED_SECONDS
            if old and not _sidecar(dump).exists():
                dump.unlink()
