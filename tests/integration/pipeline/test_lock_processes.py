"""The lock between real processes: waiting, kill -9, and workers that outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vigie.errors import LockHeld
from vigie.pipeline.lock import ProjectLock

HOLD = """
import os, sys, time
from pathlib import Path
from vigie.pipeline.lock import ProjectLock
lock = ProjectLock(Path(sys.argv[1]), sys.argv[2], command="vigie run")
lock.acquire()
if sys.argv[3] == "fork" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
elif sys.argv[3] != "fork":
    print(os.getpid(), flush=True)
if sys.argv[3] == "briefly":
    time.sleep(0.3)
    lock.release()
else:
    time.sleep(60)
"""

Holder = tuple[subprocess.Popen[str], int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Holder]]:
    """Return a function that starts a process and waits until it has the lock."""
    started: list[subprocess.Popen[str]] = []

    def start_holder(manner: str) -> Holder:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), "dev", manner],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start_holder
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_other_process_holds_it(tmp_path: Path, start: Callable[[str], Holder]) -> None:
    _process, pid = start("long")
    with pytest.raises(LockHeld, match=f"process {pid} "):
        ProjectLock(tmp_path, "dev").acquire()
    with ProjectLock(tmp_path, "prod").hold() as note:
        assert note is None


def test_waiting_gets_it_when_the_other_ends(
    tmp_path: Path, start: Callable[[str], Holder]
) -> None:
    start("briefly")
    lock = ProjectLock(tmp_path, "dev")
    assert lock.acquire(wait_seconds=20) is None
    lock.release()


def test_killed_owner_is_taken_over_with_a_word(
    tmp_path: Path, start: Callable[[str], Holder]
) -> None:
    process, pid = start("long")
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = ProjectLock(tmp_path, "dev")
    note = lock.acquire()
    assert note is not None
    assert note.owner.pid == pid
    assert note.owner.command == "vigie run"
    lock.release()


def test_forked_worker_does_not_hold_on_for_a_killed_parent(
    tmp_path: Path, start: Callable[[str], Holder]
) -> None:
    process, worker = start("fork")
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        lock = ProjectLock(tmp_path, "dev")
        assert lock.acquire() is not None
        lock.release()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vigie.errors import LockHeld\n"
        "from vigie.pipeline.lock import ProjectLock\n"
        "lock = ProjectLock(Path(sys.argv[1]), 'dev')\n"
        "try:\n    lock.acquire(); print('won', flush=True); sys.stdin.read()\n"
        "except LockHeld:\n    print('lost', flush=True)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _each in range(5)
    ]
    words = [process.stdout.readline().strip() for process in processes if process.stdout]
    for process in processes:
        process.communicate()
    assert sorted(words) == ["lost"] * 4 + ["won"]
