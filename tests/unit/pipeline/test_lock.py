from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from vigie.errors import ExitCode, LockHeld, VigieError
from vigie.pipeline import lock as module
from vigie.pipeline.lock import FlockUnsupported, Owner, ProjectLock, TakenOver, is_dead, try_flock


@pytest.fixture(params=["flock", "no flock"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no flock":

        def refuse(_descriptor: int) -> bool:
            raise FlockUnsupported

        monkeypatch.setattr(module, "try_flock", refuse)
    return str(request.param)


def me(**other: object) -> Owner:
    known = Owner(**json.loads(module._owner_text("vigie run")))
    return replace(known, **other)  # type: ignore[arg-type]


@pytest.mark.usefixtures("way")
class TestEitherWay:
    def test_second_owner_is_told_who_has_it_and_how_to_wait(self, tmp_path: Path) -> None:
        first = ProjectLock(tmp_path / ".vigie", "dev", command="vigie run --mode dev")
        assert first.acquire() is None
        with pytest.raises(LockHeld) as caught:
            ProjectLock(tmp_path / ".vigie", "dev").acquire()
        text = str(caught.value)
        assert f"process {os.getpid()} on {socket.gethostname()} since 20" in text
        assert "vigie run --mode dev" in text
        assert "--wait" in text
        assert caught.value.exit_code == ExitCode.LOCKED
        first.release()

    def test_other_mode_is_free(self, tmp_path: Path) -> None:
        with ProjectLock(tmp_path, "dev").hold(), ProjectLock(tmp_path, "prod").hold() as note:
            assert note is None

    def test_released_lock_is_free_without_a_word(self, tmp_path: Path) -> None:
        for _turn in range(3):
            lock = ProjectLock(tmp_path, "dev")
            assert lock.acquire() is None
            lock.release()
            lock.release()

    def test_released_after_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="x"), ProjectLock(tmp_path, "dev").hold():
            raise ValueError("x")
        with ProjectLock(tmp_path, "dev").hold() as note:
            assert note is None

    def test_waiting_ends_at_its_limit(self, tmp_path: Path) -> None:
        told: list[Owner] = []
        with ProjectLock(tmp_path, "dev").hold():
            begin = time.monotonic()
            with pytest.raises(LockHeld):
                ProjectLock(tmp_path, "dev").acquire(0.25, on_wait=told.append)
            assert 0.25 <= time.monotonic() - begin < 2
        assert [owner.pid for owner in told] == [os.getpid()]


def test_file_is_private(tmp_path: Path) -> None:
    with ProjectLock(tmp_path / ".vigie", "dev").hold():
        assert stat.S_IMODE((tmp_path / ".vigie" / "run_dev.lock").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / ".vigie").stat().st_mode) == 0o700


def test_words_left_in_a_free_file_mean_a_dead_owner(tmp_path: Path) -> None:
    # The same pid and start time as ours: in containers that says nothing, the kernel knows.
    (tmp_path / "run_dev.lock").write_text(json.dumps(asdict(me())))
    note = ProjectLock(tmp_path, "dev").acquire()
    assert isinstance(note, TakenOver)
    assert note.owner.pid == os.getpid()
    assert str(os.getpid()) in note.describe()


@pytest.mark.parametrize("text", ["{", '{"pid": ', "[1]", '"x"', "\0\0\0", '{"other": 1}'])
def test_torn_words_do_not_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "run_dev.lock").write_text(text)
    lock = ProjectLock(tmp_path, "dev")
    note = lock.acquire()
    if note is not None:
        assert note.describe()
    with pytest.raises(LockHeld):
        ProjectLock(tmp_path, "dev").acquire()
    lock.release()


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VigieError) as caught:
        ProjectLock(tmp_path / "file" / ".vigie", "dev").acquire()
    assert caught.value.fix


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_unsupported_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr("fcntl.flock", fail)
    with (tmp_path / "x").open("w") as file, pytest.raises(FlockUnsupported):
        try_flock(file.fileno())


DEAD = {
    "after a reboot": {"boot": "another"},
    "pid given away": {"started": 1.0},
    "pid free": {"pid": 2**22 + 1},
}
ALIVE = {
    "ourselves": {},
    "another host": {"host": "elsewhere", "boot": "another"},
    "another container": {"namespace": "pid:[1]", "pid": 2**22 + 1},
    "unknown": {"pid": 0},
}


@pytest.mark.parametrize("change", DEAD.values(), ids=DEAD)
def test_surely_dead(change: dict[str, object]) -> None:
    assert is_dead(me(**change))


@pytest.mark.parametrize("change", ALIVE.values(), ids=ALIVE)
def test_perhaps_alive(change: dict[str, object]) -> None:
    assert not is_dead(me(**change))


def test_process_that_may_not_be_looked_at_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: psutil.Process) -> float:
        raise psutil.AccessDenied

    owner = me(started=1.0)
    monkeypatch.setattr(psutil.Process, "create_time", refuse)
    assert not is_dead(owner)


@pytest.mark.parametrize("way", ["no flock"], indirect=True)
@pytest.mark.usefixtures("way")
class TestWithoutFlock:
    def test_dead_owner_is_taken_over(self, tmp_path: Path) -> None:
        (tmp_path / "run_dev.owner").write_text(json.dumps(asdict(me(boot="another"))))
        lock = ProjectLock(tmp_path, "dev")
        note = lock.acquire()
        assert note is not None
        assert note.owner.boot == "another"
        with pytest.raises(LockHeld):
            ProjectLock(tmp_path, "dev").acquire()
        lock.release()
        assert [path.name for path in tmp_path.iterdir()] == ["run_dev.lock"]

    def test_two_that_find_the_same_dead_owner_do_not_both_win(self, tmp_path: Path) -> None:
        dead = me(boot="another")
        (tmp_path / "run_dev.owner").write_text(json.dumps(asdict(dead)))
        slow = ProjectLock(tmp_path, "dev")
        quick = ProjectLock(tmp_path, "dev")
        quick.acquire()
        assert not slow._set_aside(dead)  # it saw the dead owner before `quick` took over
        with pytest.raises(LockHeld):
            slow.acquire()
        quick.release()
        assert slow.acquire() is None
