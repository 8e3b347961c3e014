"""The embedded server: its life, the places it works in, what it refuses."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict

from tests.integration.data.embedded import (
    User,
    pid_of,
    processes_in,
    query,
    works,
)
from vigie.data import postgres
from vigie.data.address import DatabaseAddress, check_reachable
from vigie.data.postgres import EmbeddedServer, open_embedded
from vigie.data.postgres_cluster import find_binary
from vigie.errors import DatabaseError, DatabaseUnreachable

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@contextmanager
def home_of(uid: int) -> Iterator[Path]:
    """Yield a data folder below one that `uid` owns; skip where the wheel can't be reached."""
    if not all(place.stat().st_mode & stat.S_IXOTH for place in find_binary("postgres").parents):
        pytest.skip("the venv lies where only root may enter")
    home = Path(tempfile.mkdtemp(prefix="vigie-home-"))
    os.chown(home, uid, uid)
    try:
        yield home / ".vigie" / "postgres"
    finally:
        shutil.rmtree(home)


class TestLife:
    def test_start_stop_reuse(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        assert not server.status().running
        assert server.status().version is None
        with server as address:
            status = server.status()
            assert status.running
            assert status.version == query(address, "SHOW server_version")[0][0].split(".")[0]  # type: ignore[attr-defined]
            query(address, "CREATE TABLE kept AS SELECT 7 AS x")
            assert server.start() == address
        assert not server.status().running
        assert server.address() == address
        server.stop()
        with open_embedded(folder) as again:
            assert again == address
            assert query(again, "SELECT x FROM kept") == [(7,)]

    def test_it_is_private_and_on_no_network(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        with server as address:
            assert query(address, "SHOW listen_addresses") == [("",)]
            postmaster = psutil.Process(pid_of(server))
            for process in [postmaster, *postmaster.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    assert not process.net_connections("inet")
            assert DatabaseAddress.from_url(address.url()) == replace(address, origin="")
            canary = "DATABASE_URL" in postmaster.environ() or "HOME" in postmaster.environ()
            assert not canary
            private = [folder, folder.parent, server.socket_dir]
            assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o700] * 3
            for name in ("lock", "users"):
                file = folder.with_name(f"postgres.{name}")
                assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_drivers_take_the_address(self, folder: Path) -> None:
        with open_embedded(folder) as address:
            url = address.url()
            assert works(address)
            assert conninfo_to_dict(url)["host"] == address.host
            assert sqlalchemy.make_url(url).database == "vigie"
            engine = sqlalchemy.create_engine(url)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT 2").scalar() == 2
            engine.dispose()
            assert check_reachable(address).startswith("18")
            query(address, "CREATE ROLE \"a@b:/?é\" LOGIN PASSWORD 'x'")
            query(address, 'CREATE DATABASE "d/ +%41é"')
            hostile = replace(address, user="a@b:/?é", password="p@:/%", name="d/ +%41é")
            assert query(hostile, "SELECT current_database()") == [("d/ +%41é",)]
            engine = sqlalchemy.create_engine(hostile.url())
            with engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT current_user").scalar() == "a@b:/?é"
            engine.dispose()
            with pytest.raises(DatabaseError, match="doesn't know that database"):
                check_reachable(replace(address, name="missing"))

    def test_the_last_of_two_stops_it(self, folder: Path) -> None:
        first = User(folder)
        pid = first.pid()
        with open_embedded(folder) as address:
            first.leave()
            assert works(address)
            second = User(folder)
            assert second.pid() == pid
        assert psutil.pid_exists(pid)
        second.leave()

    def test_two_in_one_process(self, folder: Path) -> None:
        with open_embedded(folder) as address:
            with open_embedded(folder) as same:
                assert same == address
            assert works(address)

    def test_two_at_once_on_a_fresh_folder(self, folder: Path) -> None:
        users = [User(folder), User(folder)]
        assert len({user.pid() for user in users}) == 1
        for user in users:
            user.leave()

    def test_a_fork_leaves_it_to_its_parent(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        with server as address:
            child = os.fork()
            if child == 0:
                server.stop()
                os._exit(0)
            os.waitpid(child, 0)
            assert works(address)


class TestPin:
    def test_it_runs_on_until_it_is_told_to_stop(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        server.pin()
        pid = server.status().pid
        assert pid is not None
        with open_embedded(folder) as address:
            assert works(address)
        assert server.status().pid == pid
        assert server.unpin()
        assert server.status().pid is None
        assert not server.pinned

    def test_it_is_not_taken_from_whoever_uses_it(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        server.pin()
        other = User(folder)
        pid = other.pid()
        assert not server.unpin()
        assert server.status().pid == pid
        other.leave()
        assert server.status().pid is None


class TestPlaces:
    def test_a_hostile_path(self, tmp_path: Path) -> None:
        data = tmp_path / 'l\'été "$(touch x)" `y`, \\ é\n' / "postgres"
        with open_embedded(data) as address:
            assert works(address)
        assert not processes_in(data)

    def test_a_long_path(self, tmp_path: Path) -> None:
        data = tmp_path / ("x" * 200) / ("é" * 100) / ("y" * 200) / "postgres"
        with open_embedded(data) as address:
            assert works(address)
        assert not processes_in(data)
        with pytest.raises(DatabaseError, match="too long"):
            EmbeddedServer(data.parent / ("x" * 200) / ("x" * 200) / "postgres").start()

    @pytest.mark.parametrize("name", ["a, b", "x" * 120])
    def test_a_temporary_folder_that_no_socket_fits(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        (tmp_path / name).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
        with open_embedded(folder) as address:
            assert works(address)

    def test_users_with_different_temporary_folders(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_embedded(folder) as address:
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
            with open_embedded(folder) as same:
                assert same == address

    def test_a_project_that_is_moved_while_it_runs(self, folder: Path) -> None:
        moved = folder.parent.with_name("moved") / "postgres"
        server = EmbeddedServer(folder)
        with server:
            pid = pid_of(server)
            folder.parent.rename(moved.parent)
            other = EmbeddedServer(moved)
            with other as address:
                assert pid_of(other) == pid
                assert works(address)
            moved.parent.rename(folder.parent)

    def test_a_socket_that_was_cleaned_away(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        with server:
            shutil.rmtree(server.socket_dir)
            with open_embedded(folder) as address:
                assert works(address)

    @as_root
    @pytest.mark.parametrize("without", [None, "-dac_read_search"])
    def test_below_a_folder_of_root_alone(self, tmp_path: Path, without: str | None) -> None:
        data = tmp_path / "private" / "postgres"
        data.parent.mkdir(mode=0o700)
        setpriv = shutil.which("setpriv")
        if without and setpriv is None:
            pytest.skip("setpriv isn't installed")
        user = User(data, *([str(setpriv), f"--bounding-set={without}"] if without else []))
        assert psutil.Process(user.pid()).uids().effective == postgres.NOBODY
        user.leave()
        assert not processes_in(data)

    @as_root
    def test_programs_below_a_folder_of_root_alone(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As a venv in root's home, or in what mktemp makes.
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        package = find_binary("postgres").parents[2]
        for place in package.parent.glob(f"{package.name}*"):
            if place.is_dir():
                shutil.copytree(place, private / place.name, symlinks=True)
        programs = private / find_binary("postgres").parent.relative_to(package.parent)
        monkeypatch.setattr(postgres, "find_binary", lambda name: programs / name)
        with open_embedded(folder) as address:
            assert works(address)

    @as_root
    def test_as_a_normal_user_and_then_as_root(self) -> None:
        uid = next((known.pw_uid for known in pwd.getpwall() if known.pw_name == "daemon"), None)
        if uid is None:
            pytest.skip("there is no user daemon")
        with home_of(uid) as data:
            user = User(data, uid=uid)
            pid = user.pid()
            assert psutil.Process(pid).uids().real == uid
            with open_embedded(data) as address:
                assert works(address)
            assert psutil.pid_exists(pid)
            user.leave()
            assert not processes_in(data)
            server = EmbeddedServer(data)
            with server as address:
                assert works(address)
                assert psutil.Process(pid_of(server)).uids().real == uid
            again = User(data, uid=uid)
            again.pid()
            again.leave()
            assert not processes_in(data)

    @as_root
    def test_a_user_without_a_name(self) -> None:
        if any(known.pw_uid == 12345 for known in pwd.getpwall()):
            pytest.skip("the user 12345 has a name here")
        with home_of(12345) as data:
            _out, error = User(data, uid=12345).process.communicate(timeout=30)
            assert "The user 12345 of this system has no name" in error
            assert "/etc/passwd" in error


class TestRefusals:
    @pytest.mark.parametrize("kind", ["link", "file", "folder"])
    def test_a_planted_socket_folder(self, folder: Path, tmp_path: Path, kind: str) -> None:
        planted = EmbeddedServer(folder).socket_dir
        if kind == "link":
            planted.symlink_to(tmp_path)
        elif kind == "file":
            planted.touch()
        elif os.geteuid() == 0:
            planted.mkdir()
            os.chown(planted, 12345, -1)
        else:
            pytest.skip("only root can make a folder of somebody else")
        try:
            owner = tmp_path.stat().st_uid
            with pytest.raises(DatabaseError, match="Somebody else") as caught:
                EmbeddedServer(folder).start()
            assert caught.value.where == str(planted)
            assert tmp_path.stat().st_uid == owner
        finally:
            planted.rmdir() if kind == "folder" else planted.unlink()

    def test_another_version(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "PG_VERSION").write_text("12\n")
        with pytest.raises(DatabaseError, match="its data are of 12") as caught:
            EmbeddedServer(folder).start()
        assert "Move that folder away" in str(caught.value.fix)

    def test_something_else_is_there(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "thesis.txt").write_text("ten years of work")
        with pytest.raises(DatabaseError, match="something else"):
            EmbeddedServer(folder).start()
        assert (folder / "thesis.txt").exists()

    def test_the_folder_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / ".vigie").write_text("")
        with pytest.raises(DatabaseError, match="can't be used"):
            EmbeddedServer(tmp_path / ".vigie" / "postgres").start()

    def test_a_server_that_does_not_start_says_why(self, folder: Path) -> None:
        with open_embedded(folder):
            pass
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write("colour = red\n")
        with pytest.raises(DatabaseError, match=r"colour|configuration file") as caught:
            EmbeddedServer(folder).start()
        assert str(caught.value.where).endswith("server.log")

    def test_no_wheel(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
        with pytest.raises(DatabaseUnreachable, match="no embedded PostgreSQL"):
            EmbeddedServer(folder).start()
