"""Results that somebody deletes, cuts short or changes are noticed and made again."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.faults.conftest import Reference
from tests.acceptance.faults.outputs import differing, file_hashes, table_hashes
from tests.acceptance.faults.tally import Tally
from tests.acceptance.project import Project

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SAME = ("--cutoff-days", "180")


def delete(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def change_a_byte(path: Path) -> None:
    """Change one byte and put size and times back, as a bad disk or a careful person would."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def outputs(folder: Path) -> list[str]:
    """Return the results that steps declare; the rows set aside are copies for people."""
    return [name for name in file_hashes(folder) if not name.startswith("data/quarantine")]


@pytest.mark.parametrize("damage", [delete, cut_short, change_a_byte])
def test_every_result_that_was_touched_is_made_again(
    finished: Project, reference: Reference, tally: Tally, damage: Callable[[Path], None]
) -> None:
    names = outputs(finished.folder)
    assert len(names) > 20
    for name in names:
        damage(finished.folder / name)
    finished.run(*SAME)
    wrong = differing(file_hashes(finished.folder), reference.files["180"])
    for name in names:
        tally.add(f"output: {damage.__name__.replace('_', ' ')}", "", survived=name not in wrong)
    assert not wrong
    assert not differing(table_hashes(finished), reference.tables["180"])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vigie_dev.predictions SET risk_score = 0",
        "DELETE FROM vigie_dev.student_assessment",
        "DROP TABLE vigie_dev.cohort CASCADE",
        "DROP SCHEMA vigie_dev CASCADE",
    ],
)
def test_tables_that_were_touched_are_loaded_again(
    finished: Project, reference: Reference, tally: Tally, statement: str
) -> None:
    with tally.fault("table changed by hand", statement.split(" vigie", maxsplit=1)[0]):
        done = finished.vigie("db", "shell", "--", "--no-psqlrc", "-qc", statement)
        assert done.returncode == 0, done.stderr
        finished.run(*SAME)
        assert not differing(table_hashes(finished), reference.tables["180"])


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.proof),)


def test_a_model_that_was_exchanged_is_refused_before_it_is_opened(
    finished: Project, tally: Tally, tmp_path: Path
) -> None:
    with tally.fault("model exchanged"):
        proof = tmp_path / "opened"
        model = finished.folder / "models" / "random_forest_dev.pkl"
        whole = tmp_path / "whole.pkl"
        shutil.copy2(model, whole)
        model.write_bytes(pickle.dumps(Evil(proof)))
        done = finished.vigie("run", "--lang", "en", *SAME, "--steps", "predict")
        assert done.returncode == 6, done.stdout + done.stderr
        assert "sha256" in done.stderr
        assert not proof.exists()
        pickle.loads(model.read_bytes())
        assert proof.exists(), "the proof proves nothing"
        shutil.copy2(whole, model)
        finished.run(*SAME, "--steps", "predict")
