"""A small project, the results of undisturbed runs in it, and the count of faults."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.faults.live import PHASES, LiveRun
from tests.acceptance.faults.outputs import Hashes, file_hashes, processes_of, table_hashes
from tests.acceptance.faults.tally import PROPERTY, Tally
from tests.acceptance.project import Project

ENROLMENTS = 300
SETTINGS = """\
[modes.dev]
sample_size = "all"
model_params.n_estimators = 5
[report]
figures = "basic"
"""
# Two cut-offs, so that what is there before a run is not what it makes.
VARIANTS = ("120", "180")
MakeProject = Callable[..., Project]


@dataclass(frozen=True)
class Reference:
    """What undisturbed runs made and how long they took."""

    files: dict[str, Hashes]
    tables: dict[str, Hashes]
    seconds: dict[str, float]
    folder: Path


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small generated data without its marker: real data as far as a run can tell."""
    project = Project(tmp_path_factory.mktemp("raw") / "project")
    done = project.vigie("sample", "--enrolments", str(ENROLMENTS), "--out", str(project.raw))
    assert done.returncode == 0, done.stderr
    (project.raw / "GENERATED.json").unlink()
    return project.raw


@pytest.fixture(scope="session")
def make_project(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeProject]:
    """Makes projects with the data; at the end no process may live that works in one of them."""
    root = tmp_path_factory.mktemp("projects")
    # A socket's path may not be long, and pytest's folders have long names.
    temporary = Path(tempfile.mkdtemp(prefix="vigie-faults-"))
    numbers = itertools.count(1)

    def make(name: str = "projet à nous") -> Project:
        number = next(numbers)
        project = Project(root / f"{number} {name}")
        own = temporary / str(number)
        own.mkdir()
        own.chmod(0o1777)
        project.environ["TMPDIR"] = str(own)
        shutil.copytree(raw, project.raw)
        (project.folder / "vigie.toml").write_text(SETTINGS, "utf-8")
        return project

    yield make
    alive = processes_of(root)
    for process in alive:
        process.kill()
    shutil.rmtree(temporary, ignore_errors=True)
    assert not alive, alive


@pytest.fixture(scope="session")
def reference(make_project: MakeProject) -> Reference:
    """The results of both cut-offs, each from a run that nobody disturbed."""
    files, tables, seconds = {}, {}, dict.fromkeys(PHASES, 0.0)
    project = make_project("reference")
    for variant in VARIANTS:
        run = LiveRun.start(project, "--cutoff-days", variant)
        began = time.monotonic()
        for phase, following in itertools.pairwise((*PHASES, "closing")):
            run.wait_for(following)
            now = time.monotonic()
            seconds[phase] = max(seconds[phase], now - began)
            began = now
        assert run.finish() == 0, run.errors
        files[variant], tables[variant] = file_hashes(project.folder), table_hashes(project)
    assert files["180"] != files["120"]
    return Reference(files, tables, seconds, project.folder)


@pytest.fixture
def finished(reference: Reference, make_project: MakeProject) -> Project:
    """A copy of the project that the reference runs left: the results of cut-off 180."""
    project = make_project("finished")
    shutil.rmtree(project.folder)
    # With the owners: the server's data belong to nobody where we are root.
    subprocess.run(["cp", "-a", reference.folder, project.folder], check=True)
    return project


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """The faults of one test; the report of the whole session adds them up."""
    made = Tally()
    request.node.user_properties.append((PROPERTY, made.counts))
    return made
