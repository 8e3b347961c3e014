"""Calling PostgreSQL's own programs (psql, pg_dump, pg_restore)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vigie.data.address import DatabaseAddress

# libpq's variable of each connection option that has one.
_VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "port": "PGPORT",
}


def connection_environment(address: DatabaseAddress) -> Mapping[str, str]:
    """Return the variables by which a program of PostgreSQL finds `address`.

    Not arguments: those stand in the list of processes for everybody to read, password and all.
    """
    given = {
        "PGHOST": address.host,
        "PGPORT": str(address.port),
        "PGDATABASE": address.name,
        "PGUSER": address.user,
    }
    if address.password:
        given["PGPASSWORD"] = address.password
    known = {
        _VARIABLES[name]: value for name, value in address.params.items() if name in _VARIABLES
    }
    return given | known
