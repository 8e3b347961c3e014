"""The embedded server under everything that can happen to it, and drivers against real servers."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict

from tests.integration.postgres15 import OwnServer, own_server  # noqa: F401
from vigie.data import postgres, postgres_process
from vigie.data.address import DatabaseAddress, check_reachable
from vigie.data.postgres import EmbeddedServer, find_binary, open_embedded
from vigie.errors import DatabaseError, DatabaseUnreachable

ROOT = Path(__file__).resolve().parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

# Starts the server, says its pid, and leaves when told to.
USER = """
import sys
from pathlib import Path
from vigie.data.postgres import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.status().pid, flush=True)
sys.stdin.readline()
"""

# The interpreter may lie where that user can't enter: what it needs is loaded before.
BECOME = """
import os, psutil, psycopg, encodings.idna
import vigie.data.postgres
os.setgroups([])
os.setgid({uid})
os.setuid({uid})
"""


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


def is_called(process: psutil.Process, name: str) -> bool:
    """Whether that is the title that a process of the server gave itself."""
    with suppress(psutil.Error):
        return name in " ".join(process.cmdline())
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The data folder; nothing of a server may be left there at the end."""
    data = tmp_path / ".vigie" / "postgres"
    yield data
    left = [process.pid for process in processes_in(data)]
    for pid in left:
        psutil.Process(pid).kill()
    assert not left
    assert not (data / "postmaster.pid").exists()


def processes_in(data: Path) -> list[psutil.Process]:
    """Return what works in a server's folder: its postmaster and its backends."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(data.resolve()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def watchers(data: Path) -> list[psutil.Process]:
    """Return the shells that wait for the last user of a server."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "vigie-watch" in process.cmdline() and str(data.resolve()) in process.cmdline():
                found.append(process)
    return found


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class User:
    """Another process that uses the server."""

    def __init__(self, data: Path, *before: str, uid: int | None = None) -> None:
        become = "" if uid is None else BECOME.format(uid=uid)
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", become + USER, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def pid(self) -> int:
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.process.communicate()[1]
        return int(said)

    def leave(self) -> None:
        _out, error = self.process.communicate("\n", timeout=30)
        assert self.process.returncode == 0, error

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.communicate(timeout=30)


def query(address: DatabaseAddress, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address.url(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def works(address: DatabaseAddress) -> bool:
    return query(address, "SELECT 1") == [(1,)]


def pid_of(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


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


class TestKills:
    def test_the_starter(self, folder: Path) -> None:
        starter, other = User(folder), User(folder)
        pid = starter.pid()
        assert other.pid() == pid
        starter.kill()
        time.sleep(0.5)
        assert psutil.pid_exists(pid)
        server = EmbeddedServer(folder)
        with server as address:
            assert pid_of(server) == pid
            assert works(address)
        other.leave()

    def test_the_last_user_leaves_no_server_behind(self, folder: Path) -> None:
        starter = User(folder)
        pid = starter.pid()
        sockets = EmbeddedServer(folder).socket_dir
        assert sockets.is_dir()
        starter.kill()
        wait_until(lambda: not psutil.pid_exists(pid) and not sockets.exists())
        assert not watchers(folder)
        with open_embedded(folder) as address:
            assert works(address)

    def test_killed_users_of_a_server_that_goes_on(self, folder: Path) -> None:
        kept = User(folder)
        pid = kept.pid()
        for _turn in range(3):
            killed = User(folder)
            assert killed.pid() == pid
            killed.kill()
        time.sleep(0.5)
        assert len(watchers(folder)) == 1
        kept.kill()
        wait_until(lambda: not psutil.pid_exists(pid))

    def test_the_starter_at_any_moment(self, folder: Path) -> None:
        for delay in (0.1, 0.2, 0.25, 0.3, 0.4, 0.6):
            starter = User(folder)
            try:
                starter.process.wait(delay)
            except subprocess.TimeoutExpired:
                starter.kill()
        with open_embedded(folder) as address:
            assert works(address)
        assert sorted(path.name for path in folder.parent.iterdir()) == [
            "postgres",
            "postgres.lock",
            "postgres.users",
        ]

    def test_the_postmaster_loses_nothing_committed(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        with server as address:
            query(address, "CREATE TABLE kept (x int)")
            for number in range(3):
                query(address, f"INSERT INTO kept VALUES ({number})")
                os.kill(pid_of(server), signal.SIGKILL)
                with open_embedded(folder) as again:
                    assert query(again, "SELECT max(x) FROM kept") == [(number,)]
                server.start()

    @pytest.mark.parametrize("who", ["the user", "the watcher", "somebody else"])
    def test_a_stop_in_the_middle_of_a_recovery(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, who: str
    ) -> None:
        """A stopped process stands for a server that waits for ever, as 18.4 sometimes does."""
        monkeypatch.setattr("vigie.data.postgres.STOP_SECONDS", 0.5)
        script = postgres_process._WATCH.replace("-eq 300", "-eq 5")
        monkeypatch.setattr(postgres_process, "_WATCH", script)
        server = EmbeddedServer(folder)
        address = server.start()
        query(address, "CREATE TABLE kept AS SELECT 7 AS x")
        query(address, "CHECKPOINT")
        [hung] = [process for process in processes_in(folder) if is_called(process, "checkpointer")]
        hung.suspend()
        if who == "somebody else":
            os.kill(pid_of(server), signal.SIGINT)
        if who == "the user":
            server.stop()
        else:
            # As if it was killed: the lock goes with the descriptor.
            assert server._user is not None
            os.close(server._user)
            server._user = None
        with open_embedded(folder) as again:
            assert query(again, "SELECT x FROM kept") == [(7,)]

    def test_the_postmaster_while_a_backend_is_busy(self, folder: Path) -> None:
        server = EmbeddedServer(folder)
        with server as address:
            connection = psycopg.connect(address.url())
            connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 2e12::bigint)")
            connection.pgconn.flush()
            backend = connection.info.backend_pid
            os.kill(pid_of(server), signal.SIGKILL)
            with open_embedded(folder) as again:
                assert works(again)
            assert backend not in [process.pid for process in processes_in(folder)]
            connection.close()

    def test_ctrl_c_of_the_starter(self, folder: Path) -> None:
        starter = User(folder)
        pid = starter.pid()
        with open_embedded(folder) as address:
            starter.interrupt()
            assert works(address)
            assert psutil.pid_exists(pid)

    @pytest.mark.parametrize("watched", [True, False])
    def test_ctrl_c_between_the_launch_and_its_first_sign_of_life(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, watched: bool
    ) -> None:
        """The server is on its way, and has not even written its number yet."""
        with open_embedded(folder):
            pass
        wait_until(lambda: not watchers(folder))
        run = postgres.run_to_end

        def interrupted(command: list[str], **options: object) -> object:
            done = run(command, **options)
            if str(find_binary("postgres")) in command:
                raise KeyboardInterrupt
            return done

        monkeypatch.setattr(postgres, "run_to_end", interrupted)
        server = EmbeddedServer(folder)
        if watched:
            # As if the process were gone at once: the watcher is all that is left.
            monkeypatch.setattr(server, "_shut_down", lambda: None)
        with pytest.raises(KeyboardInterrupt):
            server.start()
        wait_until(lambda: not processes_in(folder))
        wait_until(lambda: not watchers(folder))
        monkeypatch.undo()
        with open_embedded(folder) as address:
            assert works(address)

    def test_a_starter_with_many_open_files_is_watched_too(self, folder: Path) -> None:
        """Not every shell can name a descriptor above 9."""
        opened = [os.open(os.devnull, os.O_RDONLY) for _number in range(20)]
        try:
            with open_embedded(folder):
                assert watchers(folder)
        finally:
            for number in opened:
                os.close(number)

    def test_ctrl_c_of_the_only_user(self, folder: Path) -> None:
        starter = User(folder)
        starter.pid()
        starter.interrupt()

    @pytest.mark.parametrize("whose", ["own", "sleep"])
    def test_a_stale_pid_file_that_names_a_stranger(self, folder: Path, whose: str) -> None:
        with open_embedded(folder):
            pass
        command = ["sleep", "60"]
        user = postgres.NOBODY if os.geteuid() == 0 else None
        stranger = subprocess.Popen(command, user=user, cwd=folder.anchor)
        pid = os.getpid() if whose == "own" else stranger.pid
        lines = [pid, folder, 1, 5432, EmbeddedServer(folder).socket_dir, "", "1 1", "ready"]
        stale = folder / "postmaster.pid"
        try:
            stale.write_text("\n".join(map(str, lines)) + "\n")
            assert not EmbeddedServer(folder).status().running
            EmbeddedServer(folder).stop()
            with open_embedded(folder) as address:
                assert works(address)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    @pytest.mark.parametrize("name", ["postgres.making", "postgres.making-x1"])
    def test_an_interrupted_initdb_is_done_again(self, folder: Path, name: str) -> None:
        left = folder.with_name(name)
        left.mkdir(parents=True)
        (left / "PG_VERSION").write_text("18\n")
        with open_embedded(folder) as address:
            assert works(address)
        assert not left.exists()


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


class TestOwnServer:
    def refusal(self, address: DatabaseAddress) -> str:
        with pytest.raises(DatabaseError) as caught:
            check_reachable(address)
        assert not isinstance(caught.value, DatabaseUnreachable)
        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert str(address.password) not in text
        return text

    def test_each_refusal_has_its_own_text(self, own_server: OwnServer) -> None:  # noqa: F811
        own = own_server
        good = DatabaseAddress(own.host, own.port, own.name, own.user, own.password)
        assert int(check_reachable(good)) >= 90000
        assert query(good, "SELECT current_user") == [(own.user,)]
        engine = sqlalchemy.create_engine(good.url())
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        engine.dispose()
        assert "refuses the login" in self.refusal(replace(good, password="c4n4ry"))
        assert "refuses the login" in self.refusal(replace(good, user="somebody"))
        missing = self.refusal(replace(good, name="missing"))
        assert "doesn't know that database" in missing
        assert "createdb missing" in missing

    def test_the_second_of_two_hosts_answers(self, own_server: OwnServer) -> None:  # noqa: F811
        own = own_server
        several = replace(
            DatabaseAddress(own.host, 1, own.name, own.user, own.password),
            host=f"{own.host},{own.host}",
            params={"port": f"1,{own.port}"},
        )
        assert check_reachable(several)
        assert works(several)
