"""What the credentials' check finds out from a real server."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tests.integration.postgres15 import OwnServer, own_server
from vigie.checks.database import lacking_right
from vigie.data.address import DatabaseAddress

__all__ = ["own_server"]

STRANGER = 'strange "r'


def address(server: OwnServer, user: str | None = None) -> DatabaseAddress:
    return DatabaseAddress.from_parts(
        server.host, server.port, server.name, user or server.user, server.password
    )


def test_rights_are_asked_for_and_nothing_is_made(own_server: OwnServer) -> None:
    owner = address(own_server)
    with psycopg.connect("".join(owner.url()), autocommit=True) as connection:

        def run(statement: str, *names: str) -> None:
            identifiers = (sql.Identifier(name) for name in names)
            connection.execute(sql.SQL(statement).format(*identifiers))  # type: ignore[arg-type]

        def lacking() -> tuple[str, str] | None:
            return lacking_right(address(own_server, STRANGER), "vigie_prod")

        assert lacking_right(owner, "vigie_prod") is None
        password = sql.Literal(own_server.password)
        role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(role.format(sql.Identifier(STRANGER), password))
        refused = lacking()
        assert refused is not None
        assert f'GRANT CREATE ON DATABASE "{own_server.name}"' in refused[1]
        assert '"strange ""r"' in refused[1]

        run("CREATE SCHEMA vigie_prod")
        refused = lacking()
        assert refused is not None
        assert "ON SCHEMA" in refused[1]
        run("GRANT CREATE, USAGE ON SCHEMA vigie_prod TO {}", STRANGER)
        assert lacking() is None

        run("CREATE TABLE vigie_prod.cohort (a int)")
        refused = lacking()
        assert refused is not None
        assert "cohort" in refused[0]
        run("ALTER ROLE {} SET default_transaction_read_only = on", STRANGER)
        refused = lacking()
        assert refused is not None
        assert "read-only" in refused[0]
        [(schemas,)] = connection.execute(
            "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'vigie%'"
        )
        assert schemas == 1
