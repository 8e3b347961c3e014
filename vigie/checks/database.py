"""Whether the database is the one that is meant, answers, and lets vigie make its tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vigie.checks.context import CheckContext
from vigie.checks.finding import Finding
from vigie.i18n import _
from vigie.verdict import Verdict

if TYPE_CHECKING:
    from vigie.data.address import DatabaseAddress

NAME = "credentials"
# What a complete .env names; the port has a default that is nearly always right.
PARTS = {
    "database.host": "DB_HOST",
    "database.name": "DB_NAME",
    "database.user": "DB_USER",
    "database.password": "DB_PASSWORD",
}


def check_credentials(context: CheckContext) -> Iterator[Finding]:
    """Find out whether the credentials are complete, connect, and may create in the schema."""
    from vigie.data.address import check_reachable, shown_version
    from vigie.data.load import resolve_address

    address = resolve_address(context.settings)
    if address is None:
        yield _embedded(context)
        return
    yield from _incomplete(context)
    if _is_embedded(context, address):
        yield Finding(
            NAME,
            Verdict.WARN,
            _("{address} is the embedded server's own address.").format(address=address.masked),
            _("Take it out of {origin}, or name the server that is meant.").format(
                origin=address.origin
            ),
        )
        return
    number = int(check_reachable(address, context.settings.values.database.connect_timeout))
    lacking = lacking_right(address, context.paths.schema)
    if lacking is not None:
        yield Finding(NAME, Verdict.FAIL, *lacking)
        return
    said = _("{address} answers (PostgreSQL {version}); {user} may create in {schema}")
    yield Finding(
        NAME,
        Verdict.PASS,
        said.format(
            address=address.masked,
            version=shown_version(number),
            user=address.user,
            schema=context.paths.schema,
        ),
    )


def _embedded(context: CheckContext) -> Finding:
    return Finding(
        NAME,
        Verdict.WARN,
        _("No database is named: the tables go to the embedded server, {folder}.").format(
            folder=context.paths.postgres.relative_to(context.paths.project)
        ),
        _("If another server is meant, name it in .env: {names} (or DATABASE_URL).").format(
            names=", ".join(PARTS.values())
        ),
    )


def _incomplete(context: CheckContext) -> Iterator[Finding]:
    """Warn of parts that were left to defaults: a user or database that was only guessed."""
    if context.settings.values.database.url is not None:
        return
    given = [key for key in PARTS if context.settings.get(key) is not None]
    missing = [PARTS[key] for key in PARTS if key not in given]
    if missing:
        yield Finding(
            NAME,
            Verdict.WARN,
            _("Left to defaults: {names}.").format(names=", ".join(missing)),
            _("Name them in .env."),
        )


def _is_embedded(context: CheckContext, address: DatabaseAddress) -> bool:
    from vigie.data.postgres import EmbeddedServer

    return address.host == EmbeddedServer(context.paths.postgres).address().host


def lacking_right(address: DatabaseAddress, schema: str) -> tuple[str, str] | None:
    """Return what the user may not do and the statement that grants it, or None.

    Nothing is created: the server is only asked for its privileges.
    """
    import psycopg
    from psycopg import sql

    from vigie.data.load import conninfo

    with psycopg.connect(conninfo(address, "vigie check")) as connection:
        # The types' Python forms matter: true and false, None where there is no such schema.
        row = connection.execute(
            "SELECT current_user::text, current_database()::text,"
            " has_database_privilege(current_database(), 'CREATE'),"
            " (SELECT pg_has_role(nspowner, 'USAGE') OR has_schema_privilege(oid, 'CREATE')"
            "  FROM pg_namespace WHERE nspname = %s),"
            " (SELECT string_agg(c.relname::text, ', ' ORDER BY c.relname) FROM pg_class c"
            "  JOIN pg_namespace n ON n.oid = c.relnamespace"
            "  WHERE n.nspname = %s AND c.relkind = 'r' AND NOT pg_has_role(c.relowner, 'USAGE')),"
            " pg_is_in_recovery() OR current_setting('transaction_read_only')::bool",
            (schema, schema),
        ).fetchone()
        assert row is not None
        user, database, may_make_schemas, may_create, foreign, read_only = row

        def grant(statement: str, *names: str) -> str:
            composed = sql.SQL(statement).format(*(sql.Identifier(name) for name in names))
            return _("An administrator types: {statement}").format(
                statement=composed.as_string(connection)
            )

        if read_only:
            return (
                _("{address} takes no changes: it is read-only or a stand-by.").format(
                    address=address.masked
                ),
                _("Name the primary server in .env."),
            )
        if may_create is None and not may_make_schemas:
            return (
                _("{user} may not make the schema {schema}.").format(user=user, schema=schema),
                grant("GRANT CREATE ON DATABASE {} TO {};", database, user),
            )
        if may_create is False:
            return (
                _("{user} may not create tables in {schema}.").format(user=user, schema=schema),
                grant("GRANT CREATE, USAGE ON SCHEMA {} TO {};", schema, user),
            )
        if foreign:
            return (
                _("Tables in {schema} belong to somebody else: {names}.").format(
                    schema=schema, names=foreign
                ),
                grant("ALTER TABLE {}.… OWNER TO {};", schema, user),
            )
    return None
