"""Where the database is: settings, the embedded server, the guide's command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from vigie.data.load import create_connection_string, open_database, resolve_address
from vigie.errors import DatabaseUnreachable
from vigie.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def write_env(project: Path, text: str) -> None:
    env = project / ".env"
    env.write_text(text, "utf-8")
    env.chmod(0o600)


def test_nothing_configured_is_the_embedded_server(tmp_path: Path) -> None:
    assert resolve_address(load_settings(tmp_path)) is None


def test_a_url_is_taken_with_its_origin(tmp_path: Path) -> None:
    write_env(tmp_path, "DATABASE_URL=postgresql://me:ca%40nary@db.example:6543/marks\n")
    address = resolve_address(load_settings(tmp_path))
    assert address is not None
    assert (address.host, address.port, address.name) == ("db.example", 6543, "marks")
    assert address.password == "ca@nary"
    assert ".env" in address.origin


def test_single_settings_make_an_address(tmp_path: Path) -> None:
    write_env(tmp_path, "DB_HOST=db.example\nDB_NAME=marks\nDB_USER=me\nDB_PASSWORD=canary\n")
    url = create_connection_string(tmp_path)
    assert "canary" not in f"{url} {url!r} {url!s}"
    assert psycopg.conninfo.conninfo_to_dict(url)["password"] == "canary"
    assert sqlalchemy.make_url(url).password == "canary"


def test_a_server_that_does_not_answer_stops_before_any_work(tmp_path: Path) -> None:
    write_env(tmp_path, "DATABASE_URL=postgresql://me:canary@127.0.0.1:1/x\n")
    with pytest.raises(DatabaseUnreachable) as caught, open_database(load_settings(tmp_path)):
        pass
    assert "canary" not in str(caught.value)


def test_the_guides_command_gives_an_address_that_works(tmp_path: Path) -> None:
    code = (
        "from src.data.load import create_connection_string\n"
        "import psycopg, sqlalchemy\n"
        "url = create_connection_string()\n"
        "print(url)\n"
        "print(psycopg.connect(url).execute('SELECT 1').fetchone())\n"
        "engine = sqlalchemy.create_engine(url.replace('postgresql:', 'postgresql+psycopg:'))\n"
        "print(engine.connect().exec_driver_sql('SELECT 2').fetchone())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "(1,)\n(2,)" in done.stdout
    assert (tmp_path / ".vigie" / "postgres").is_dir()
    assert not list((tmp_path / ".vigie" / "postgres").glob("**/postmaster.pid"))


def test_asking_does_not_start_a_server(tmp_path: Path) -> None:
    url = create_connection_string(tmp_path, start=False)
    assert url.startswith("postgresql://")
    assert not (tmp_path / ".vigie" / "postgres").exists()
