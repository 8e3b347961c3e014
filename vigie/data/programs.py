"""Calling PostgreSQL's own programs (psql, pg_dump, pg_restore)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vigie.pipeline.interrupt import interrupt_held

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


def run_to_end(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a program as ``subprocess.run`` does, where `options` make Python fork (``preexec_fn``).

    Ctrl-C ends the program and is not lost.
    """
    process = None
    try:
        with interrupt_held():
            process = subprocess.Popen(arguments, **options)
        output, errors = process.communicate()
    except BaseException:
        if process is not None:
            process.kill()
            process.wait()
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)
