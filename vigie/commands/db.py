"""``vigie db``: the project's database, be it the embedded server or one of the user's own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from cyclopts import App

from vigie.commands.help import CommandHelp
from vigie.commands.layout import Example
from vigie.commands.options import Flag, Language, Project, open_project, print_json
from vigie.errors import DatabaseError, ExitCode, UsageError
from vigie.i18n import _, later

if TYPE_CHECKING:
    from vigie.data.postgres import EmbeddedServer
    from vigie.settings import LoadedSettings

db = App(
    name="db",
    help_formatter=CommandHelp(
        None,
        Example("vigie db status", later("where it is and what is in it")),
        Example("vigie db shell --help", later("all about one of the commands")),
    ),
)
_HERE = "vigie.commands.db"


@db.command(
    help_formatter=CommandHelp(
        f"{_HERE}:status",
        Example("vigie db status", later("where it is and what is in it")),
    )
)
def status(
    *,
    project: Project = None,
    json: Flag = False,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Show where the database is, whether it answers, and what vigie has loaded there.

    Parameters
    ----------
    project
        Folder of the project.
    json
        Print JSON.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    settings = open_project(project, lang)
    found = _describe(settings)
    if json:
        print_json(found)
    else:
        for line in _lines(found):
            print(line)
    return ExitCode.DATABASE if found["error"] else ExitCode.OK


@db.command(
    help_formatter=CommandHelp(
        f"{_HERE}:start",
        Example(
            "vigie db start", later("keep it running, for another program that reads the tables")
        ),
    )
)
def start(
    *,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Start the embedded server and let it run until `vigie db stop`.

    A run starts it by itself, and stops it at its end; this keeps it running in between.

    Parameters
    ----------
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    settings = open_project(project, lang)
    server = _embedded(settings)
    server.pin()
    print(_("The embedded PostgreSQL runs: {address}").format(address=server.address().masked))
    return ExitCode.OK


@db.command(
    help_formatter=CommandHelp(
        f"{_HERE}:stop",
        Example("vigie db stop", later("stop what vigie db start has started")),
    )
)
def stop(
    *,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Stop the embedded server; one that a run still uses stops when that ends.

    Parameters
    ----------
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    if _embedded(open_project(project, lang)).unpin():
        print(_("The embedded PostgreSQL is stopped."))
    else:
        print(_("The embedded PostgreSQL is in use; it stops when its last user leaves."))
    return ExitCode.OK


@db.command(
    help_formatter=CommandHelp(
        f"{_HERE}:url",
        Example("vigie db url", later("for people")),
        Example("psql $(vigie db url --show-password)", later("for programs")),
    )
)
def url(
    *,
    project: Project = None,
    show_password: Flag = False,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Print the database's URL, the password masked.

    Parameters
    ----------
    project
        Folder of the project.
    show_password
        Print the password as it is.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.data.load import create_connection_string

    settings = open_project(project, lang)
    address = create_connection_string(settings.project, start=False)
    print("".join(address) if show_password else address)
    return ExitCode.OK


@db.command(
    help_formatter=CommandHelp(
        f"{_HERE}:shell",
        Example("vigie db shell", later("to type SQL")),
        Example('vigie db shell -- -c "SELECT count(*) FROM vigie_dev.cohort"', later("one query")),
    )
)
def shell(
    *arguments: str,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Open psql on the database; what follows is passed on to psql, after --.

    Parameters
    ----------
    arguments
        Options of psql: vigie db shell -- -c "SELECT count(*) FROM vigie_dev.cohort".
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.data.load import open_database
    from vigie.data.postgres_cluster import find_binary
    from vigie.data.programs import connection_environment

    settings = open_project(project, lang)
    with open_database(settings) as address:
        done = subprocess.run(
            [str(find_binary("psql")), *arguments],
            env={**os.environ, **connection_environment(address)},
            check=False,
        )
    return done.returncode


def _embedded(settings: LoadedSettings) -> EmbeddedServer:
    """Return the project's embedded server, where that is what the project uses."""
    from vigie.data.load import resolve_address
    from vigie.data.postgres import EmbeddedServer

    address = resolve_address(settings)
    if address is not None:
        raise UsageError(
            _("This project uses a server of its own, which vigie doesn't start or stop."),
            where=f"{address.masked} ({address.origin})",
            fix=_("Take the database out of .env to use the embedded server."),
        )
    return EmbeddedServer(settings.project / ".vigie" / "postgres")


def _describe(settings: LoadedSettings) -> dict[str, Any]:
    """Return what is known; an embedded server that doesn't run is left alone."""
    from vigie.data.address import check_reachable, shown_version
    from vigie.data.load import resolve_address
    from vigie.data.postgres import EmbeddedServer

    address = resolve_address(settings)
    found: dict[str, Any] = {
        "kind": "own" if address else "embedded",
        "running": None,
        "pid": None,
        "kept_running": None,
        "address": address.masked if address else None,
        "version": None,
        "tables": {},
        "error": None,
    }
    if address is None:
        server = EmbeddedServer(settings.project / ".vigie" / "postgres")
        state = server.status()
        found |= {"running": state.running, "pid": state.pid, "kept_running": server.pinned}
        found |= {"address": server.address().masked, "version": state.version}
        if not state.running:
            return found
        address = server.address()
    try:
        number = int(check_reachable(address, settings.values.database.connect_timeout))
        found |= {"running": True, "version": shown_version(number)}
        found["tables"] = _loaded_tables(address.url())
    except DatabaseError as error:
        found |= {"running": False, "error": str(error)}
    return found


def _loaded_tables(url: str) -> dict[str, int]:
    """Return vigie's tables with the planner's row counts, which cost nothing to read."""
    import psycopg

    with psycopg.connect("".join(url)) as connection:
        rows = connection.execute(
            "SELECT n.nspname || '.' || c.relname, c.reltuples::bigint FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname IN ('vigie_dev', 'vigie_prod') ORDER BY 1"
        ).fetchall()
    return {str(name): max(0, int(count)) for name, count in rows}


def _lines(found: dict[str, Any]) -> list[str]:
    kind = _("embedded server") if found["kind"] == "embedded" else _("a server of your own")
    state = _("running") if found["running"] else _("stopped")
    if found["error"]:
        state = _("no connection")
    if found["pid"]:
        state += _(", process {pid}").format(pid=found["pid"])
    if found["kept_running"]:
        state += _(", kept running until: vigie db stop")
    lines = [f"{kind}: {found['address']}", state]
    if found["version"]:
        lines.append(f"PostgreSQL {found['version']}")
    lines += [f"   {name:<36} ~{rows:>12,}" for name, rows in found["tables"].items()]
    return lines + ([found["error"]] if found["error"] else [])
