"""A server of one's own that restarts, goes away, or refuses while a run works with it."""

from __future__ import annotations

import shutil

import psycopg
import pytest

from tests.acceptance.faults.conftest import MakeProject, Reference
from tests.acceptance.faults.live import LiveRun
from tests.acceptance.faults.outputs import differing, half_made, leftovers, read_tables
from tests.acceptance.faults.tally import Tally
from tests.acceptance.project import Project
from tests.integration.postgres15 import OwnServer, own_server

__all__ = ["own_server"]
pytestmark = [pytest.mark.faults, pytest.mark.slow]

CHANGE = ("--cutoff-days", "120")
BACK = ("--cutoff-days", "180")


@pytest.fixture
def project(reference: Reference, make_project: MakeProject, own_server: OwnServer) -> Project:
    """A project whose tables of cut-off 180 are in the server, with a view and a grant on them."""
    made = make_project("own server")
    for name in ("data", "models", "reports", ".vigie/hashes.json"):
        source = reference.folder / name
        if source.is_dir():
            shutil.copytree(source, made.folder / name, dirs_exist_ok=True)
    env = made.folder / ".env"
    env.write_text(own_server.dotenv(), "utf-8")
    env.chmod(0o600)
    made.run(*BACK)
    with psycopg.connect(own_server.conninfo, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest")
        connection.execute("GRANT SELECT ON vigie_dev.predictions TO guest")
        connection.execute(
            "CREATE OR REPLACE VIEW public.at_risk AS "
            "SELECT * FROM vigie_dev.predictions WHERE risk_level = 'high'"
        )
    yield made
    with psycopg.connect(own_server.conninfo, autocommit=True) as connection:
        connection.execute("DROP VIEW public.at_risk")
        connection.execute("DROP OWNED BY guest")


def tables(server: OwnServer) -> dict[str, str]:
    found = read_tables(server.conninfo)
    return {name: value for name, value in found.items() if name.startswith("vigie_dev.")}


def expected(reference: Reference, variant: str) -> dict[str, str]:
    found = reference.tables[variant]
    return {name: value for name, value in found.items() if name.startswith("vigie_dev.")}


def attached(server: OwnServer) -> tuple[int, int]:
    """Return the rows of the view that a person made, and whether the grant stands."""
    with psycopg.connect(server.conninfo) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM public.at_risk").fetchone() or (0,)
        (granted,) = connection.execute(
            "SELECT has_table_privilege('guest', 'vigie_dev.predictions', 'SELECT')::int"
        ).fetchone() or (0,)
    return rows, granted


def same_rows(one: dict[str, str], other: dict[str, str]) -> bool:
    # The record of a load holds names of triggers, which a refill leaves and a swap makes anew.
    return not [name for name in differing(one, other) if not name.endswith("vigie_load")]


@pytest.mark.parametrize("step", ["load", "predict"])
def test_a_restart_in_the_middle_is_waited_out(
    project: Project, own_server: OwnServer, reference: Reference, tally: Tally, step: str
) -> None:
    with tally.fault("database restarted", step):
        run = LiveRun.start(project, *CHANGE)
        assert run.wait_for(step)
        own_server.control("restart")
        code = run.finish()
        if code:
            # It came where nothing may be tried again: then it is named, and the command resumes.
            assert code == 5, run.errors
            assert "Fix:" in run.errors
            project.run(*CHANGE)
        assert "Traceback" not in run.errors
        assert same_rows(tables(own_server), expected(reference, "120"))
        assert attached(own_server)[1] == 1


def test_a_server_that_goes_away_leaves_the_old_tables(
    project: Project, own_server: OwnServer, reference: Reference, tally: Tally
) -> None:
    with tally.fault("database gone", "load"):
        rows, _granted = attached(own_server)
        run = LiveRun.start(project, *CHANGE)
        assert run.wait_for("load")
        own_server.control("stop")
        code = run.finish()
        assert code == 5, run.text + run.errors
        assert str(own_server.port) in run.errors
        assert "Fix:" in run.errors
        assert "Traceback" not in run.errors
        refused = project.vigie("run", "--lang", "en", *CHANGE)
        assert refused.returncode == 5
        assert "Start the server" in refused.stderr
        own_server.control("start")
        assert same_rows(tables(own_server), expected(reference, "180"))
        assert attached(own_server) == (rows, 1)
        assert not half_made(project.folder, reference.files.values())
        project.run(*CHANGE)
        assert same_rows(tables(own_server), expected(reference, "120"))
        assert attached(own_server)[1] == 1
        assert not leftovers(project)


def test_a_refusal_is_named_and_not_tried_again(
    project: Project, own_server: OwnServer, reference: Reference, tally: Tally
) -> None:
    with tally.fault("database refuses", "load"):
        with psycopg.connect(own_server.conninfo, autocommit=True) as connection:
            # A sequence counts the tries: it is not rolled back.
            connection.execute("CREATE SEQUENCE public.tries")
            connection.execute(
                "CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ "
                "BEGIN PERFORM nextval('public.tries'); RAISE EXCEPTION 'not today'; END $$"
            )
            connection.execute(
                "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE') "
                "EXECUTE FUNCTION public.refuse()"
            )
        try:
            done = project.vigie("run", "--lang", "en", *CHANGE)
        finally:
            with psycopg.connect(own_server.conninfo, autocommit=True) as connection:
                connection.execute("DROP EVENT TRIGGER refuse")
                (tries,) = connection.execute("SELECT last_value FROM public.tries").fetchone() or (
                    0,
                )
                connection.execute("DROP FUNCTION public.refuse")
                connection.execute("DROP SEQUENCE public.tries")
        assert done.returncode == 5, done.stdout + done.stderr
        assert "not today" in done.stderr
        assert "Fix:" in done.stderr
        assert tries == 1
        assert same_rows(tables(own_server), expected(reference, "180"))
        project.run(*CHANGE)
        assert same_rows(tables(own_server), expected(reference, "120"))
