"""The embedded server when it, its starter or its users are killed or interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.integration.data.embedded import (
    User,
    is_called,
    pid_of,
    processes_in,
    query,
    wait_until,
    watchers,
    works,
)
from vigie.data import postgres, postgres_process
from vigie.data.postgres import EmbeddedServer, open_embedded
from vigie.data.postgres_cluster import find_binary


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
