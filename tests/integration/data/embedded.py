"""What tests of the embedded server look at: its processes, and other users of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

from vigie.data.address import DatabaseAddress
from vigie.data.postgres import EmbeddedServer

ROOT = Path(__file__).resolve().parents[3]
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


def is_called(process: psutil.Process, name: str) -> bool:
    """Whether that is the title that a process of the server gave itself."""
    with suppress(psutil.Error):
        return name in " ".join(process.cmdline())
    return False


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
