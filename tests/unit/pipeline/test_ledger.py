from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.ledger import Ledger, Outcome, Status


def make_outcome(step: str = "train", status: Status = Status.SUCCESS, **more: Any) -> Outcome:
    values: dict[str, Any] = {
        "run_id": "r1",
        "started": "2026-07-01T10:00:00+00:00",
        "finished": "2026-07-01T10:00:01+00:00",
        "seconds": 1.0,
        "fingerprint": make_fingerprint(step),
        "outputs": {"model": "m1"},
    }
    return Outcome(step=step, status=status, **values | more)


def make_fingerprint(step: str = "train", **more: Any) -> Fingerprint:
    values: dict[str, Any] = {
        "version": 1,
        "params": {"n": 5},
        "code": {"m": "c1"},
        "libraries": {"numpy": "2.0"},
        "inputs": {"features": "f1"},
    }
    return Fingerprint(step=step, **values | more)


def test_what_was_appended_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / ".vigie" / "ledger_dev.jsonl"
    ledger, note = Ledger.open(path)
    assert note is None
    first = make_outcome(facts={"rows": 3, "é": "ü"})
    second = make_outcome(status=Status.FAILED, outputs={}, error="ValueError")
    ledger.append(first)
    ledger.append(second)
    again, note = Ledger.open(path)
    assert note is None
    for each in (ledger, again):
        assert list(each.outcomes()) == [first, second]
        assert each.last("train") == second
        assert each.last_success("train") == first
        assert each.success_with("train", first.fingerprint.digest) == first
        assert each.success_with("train", "other") is None
        assert each.last("load") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_latest_success_with_a_fingerprint_counts(tmp_path: Path) -> None:
    ledger, _note = Ledger.open(tmp_path / "l")
    for run_id, inputs in [("1", "a"), ("2", "b"), ("3", "a")]:
        fingerprint = make_fingerprint(inputs={"features": inputs})
        ledger.append(make_outcome(run_id=run_id, fingerprint=fingerprint))
    digest = make_fingerprint(inputs={"features": "a"}).digest
    found = ledger.success_with("train", digest)
    assert found is not None
    assert found.run_id == "3"


@pytest.mark.parametrize(
    "damage",
    [b'{"format": 1, "run_id"', b"\0\0\0\0\0\0", b"[]\n", b"{}\n", b'{"format": 1}\n', b"\xff\n"],
)
def test_ledger_is_cut_at_its_first_broken_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "l"
    ledger, _note = Ledger.open(path)
    ledger.append(make_outcome())
    good = path.read_bytes()
    path.write_bytes(good + damage + (b"" if not damage.endswith(b"\n") else good))

    looked, note = Ledger.open(path, repair=False)
    assert note is not None
    assert note.line == 2
    assert len(list(looked.outcomes())) == 1
    assert path.read_bytes() != good

    repaired, note = Ledger.open(path)
    assert note is not None
    assert "line 2" in note.describe()
    assert path.read_bytes() == good
    repaired.append(make_outcome("load"))
    assert [outcome.step for outcome in Ledger.open(path)[0].outcomes()] == ["train", "load"]


def test_line_of_a_later_format_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l"
    path.write_bytes(b'{"format": 2, "new": 1}\n')
    ledger, note = Ledger.open(path)
    assert note is None
    assert list(ledger.outcomes()) == []


def test_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l"
    ledger, _note = Ledger.open(path)
    ledger.append(make_outcome())
    good = path.read_bytes()
    write = os.write
    calls = []

    def write_some(descriptor: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "no space")
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", write_some)
    with pytest.raises(OSError, match="no space"):
        ledger.append(make_outcome("load"))
    assert path.read_bytes() == good
    assert ledger.last("load") is None


KILLED_APPEND = """
import os, sys
from pathlib import Path
from vigie.pipeline import ledger as module
from tests.unit.pipeline.test_ledger import make_outcome
ledger, _ = module.Ledger.open(Path(sys.argv[1]))
ledger.append(make_outcome())
write = os.write
def write_and_die(descriptor, data):
    write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), 9)
os.write = write_and_die
ledger.append(make_outcome("load"))
"""


def test_kill_in_the_middle_of_an_append_loses_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "l"
    done = subprocess.run([sys.executable, "-c", KILLED_APPEND, str(path)], check=False)
    assert done.returncode == -9
    assert not path.read_bytes().endswith(b"\n")
    ledger, note = Ledger.open(path)
    assert note is not None
    assert [outcome.step for outcome in ledger.outcomes()] == ["train"]


def test_thousands_of_lines_open_quickly(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger, _note = Ledger.open(path)
    code = {f"vigie.module_{n}": "0" * 64 for n in range(30)}
    ledger.append(make_outcome(fingerprint=make_fingerprint(code=code)))
    path.write_bytes(path.read_bytes() * 2000)
    begin = time.perf_counter()
    again, _note = Ledger.open(path)
    assert time.perf_counter() - begin < 1.0
    assert again.last_success("train") is not None
