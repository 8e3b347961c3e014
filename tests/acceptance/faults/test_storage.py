"""A full disk and folders that can't be written: named, nothing lost, and the same command resumes.

Root writes everywhere, so root needs a mount for these; others take the rights away.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.faults.conftest import MakeProject, Reference
from tests.acceptance.faults.outputs import (
    differing,
    file_hashes,
    half_made,
    leftovers,
    processes_of,
    table_hashes,
)
from tests.acceptance.faults.tally import Tally
from tests.acceptance.project import Done, Project

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CHANGE = ("--cutoff-days", "120")
DISK_BYTES = 400_000_000
# What is free when a run begins: nothing, a few small files, the tables, a part of the load, ...
FREE_BYTES = (0, 100_000, 600_000, 3_000_000)


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """Mount something at `folder`; skip where that isn't allowed."""
    done = subprocess.run(
        ["mount", *arguments, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write in `folder`."""
    if os.geteuid():
        mode = folder.stat().st_mode
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(mode)
        return
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield


def fill(folder: Path, free: int) -> Path:
    """Write a file that leaves `free` bytes of the disk."""
    filler = folder.parent / "filler"
    there = os.statvfs(folder)
    with filler.open("wb") as opened:
        os.posix_fallocate(opened.fileno(), 0, there.f_bavail * there.f_frsize - free)
    return filler


def plainly(done: Done) -> str:
    """Return what the run said of its failure, which is for people."""
    assert done.returncode in (1, 3, 5), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    assert "Fix:" in done.stderr
    return done.stderr


def test_a_full_disk_is_named_and_the_same_command_resumes(
    make_project: MakeProject, finished: Project, reference: Reference, tally: Tally, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "vigie-faults"):
        subprocess.run(["cp", "-a", finished.folder, disk / "project"], check=True)
        project = Project(disk / "project", finished.environ)
        for number, free in enumerate(FREE_BYTES):
            with tally.fault("disk full", f"{free:,} bytes free"):
                change = ("--cutoff-days", ("120", "180")[number % 2])
                filler = fill(project.folder, free)
                done = project.vigie("run", "--lang", "en", *change)
                said = plainly(done)
                assert "space" in said, said
                assert not half_made(project.folder, reference.files.values())
                assert not processes_of(project.folder)
                filler.unlink()
                project.run(*change)
                assert not differing(file_hashes(project.folder), reference.files[change[1]])
                assert not differing(table_hashes(project), reference.tables[change[1]])
                assert not leftovers(project)


@pytest.mark.parametrize("name", [".", ".vigie", "data", "logs"])
def test_a_folder_that_cannot_be_written_is_named(
    finished: Project, reference: Reference, tally: Tally, name: str
) -> None:
    folder = finished.folder / name
    with tally.fault("read-only folder", name):
        with read_only(folder):
            said = plainly(finished.vigie("run", "--lang", "en", *CHANGE))
            assert str(folder.resolve()) in said
            assert not processes_of(finished.folder)
        assert not half_made(finished.folder, reference.files.values())
        finished.run(*CHANGE)
        assert not differing(file_hashes(finished.folder), reference.files["120"])
        assert not leftovers(finished)
