"""What is known of loaded tables while the embedded server sleeps, against that server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.integration.data.school import School, school
from vigie.data.address import DatabaseAddress
from vigie.data.load import load_tables
from vigie.data.postgres import EmbeddedServer, open_embedded
from vigie.data.tables_artifact import TablesArtifact, database_artifacts, remember_tables
from vigie.paths import ProjectPaths
from vigie.settings import LoadedSettings, load_settings


@dataclass(slots=True)
class Project:
    """A project whose dev tables are loaded."""

    folder: Path
    started: int = 0

    @property
    def settings(self) -> LoadedSettings:
        return load_settings(self.folder, environ={})

    @property
    def paths(self) -> ProjectPaths:
        return ProjectPaths(self.folder, "dev")

    @contextmanager
    def server(self) -> Iterator[DatabaseAddress]:
        with open_embedded(self.paths.postgres) as address:
            yield address

    def execute(self, *statements: str, remember: bool = False) -> None:
        with self.server() as address:
            with psycopg.connect("".join(address.url()), autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement)  # type: ignore[arg-type]
            if remember:
                remember_tables(self.settings, self.paths, address)

    def load(self) -> None:
        with self.server() as address:
            tables, cohort = School().write(self.folder / "files")
            load_tables(
                address, self.paths.schema, school(), tables, cohort,
                fingerprint="first", run={"mode": "dev"},
            )  # fmt: skip
            remember_tables(self.settings, self.paths, address)

    def states(self) -> dict[str, str | None]:
        """Return the states as a run would read them, and count whether it needed the server."""
        with pytest.MonkeyPatch.context() as patched:
            start = EmbeddedServer.start

            def counted(server: EmbeddedServer) -> DatabaseAddress:
                self.started += 1
                return start(server)

            patched.setattr(EmbeddedServer, "start", counted)
            with ExitStack() as held:
                artifacts = database_artifacts(
                    self.settings, self.paths, lambda: held.enter_context(self.server())
                )
                return {one.name: one.state() for one in artifacts}

    def true_states(self) -> dict[str, str | None]:
        """Return what the server says."""
        with self.server() as address:
            return {
                name: TablesArtifact(name, self.paths.schema, record, lambda: address).state()
                for name, record in (("database", "tables"), ("predictions_table", "predictions"))
            }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("memory"))
    project.load()
    return project


@pytest.fixture
def project(loaded: Project) -> Project:
    """The project, whose memory is that of its tables as they are now."""
    loaded.execute(remember=True)
    loaded.started = 0
    return loaded


def test_states_are_known_without_a_server(project: Project) -> None:
    known = project.states()
    assert project.started == 0
    assert known == project.true_states()
    assert known["database"] is not None
    assert known["predictions_table"] is None


def test_reading_changes_nothing(project: Project) -> None:
    project.execute('SELECT count(*) FROM "vigie_dev"."visits"', "CHECKPOINT", "VACUUM")
    assert project.states() == project.true_states()
    assert project.started == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vigie_dev.visits SET minutes = minutes + 1",
        "DELETE FROM vigie_dev.cohort",
        "ALTER TABLE vigie_dev.pupils ADD COLUMN more text",
        "DROP INDEX IF EXISTS vigie_dev.visits_pupil_class_idx",
        "CREATE TABLE elsewhere (a int); DROP TABLE elsewhere",
    ],
)
def test_every_change_is_noticed(project: Project, statement: str) -> None:
    project.execute(statement)
    assert project.states() == project.true_states()
    assert project.started == 2


def test_change_under_way_while_it_was_looked_at_is_noticed(project: Project) -> None:
    with project.server() as address:
        with psycopg.connect("".join(address.url())) as other:
            other.execute("UPDATE vigie_dev.visits SET day = day + 1")
            remember_tables(project.settings, project.paths, address)
    assert project.states() == project.true_states()
    assert project.started == 2


def test_server_that_was_killed_is_asked(project: Project) -> None:
    server = EmbeddedServer(project.paths.postgres)
    server.start()
    pid = server.status().pid
    assert pid is not None
    with psycopg.connect("".join(server.address().url()), autocommit=True) as connection:
        connection.execute("UPDATE vigie_dev.visits SET paid = NOT paid")
        psutil.Process(pid).kill()
    server.stop()
    assert project.states() == project.true_states()
    assert project.started == 2


def test_schema_of_the_other_mode_stays_known(project: Project) -> None:
    prod = ProjectPaths(project.folder, "prod")
    project.execute("CREATE TABLE IF NOT EXISTS other (a int)")
    with project.server() as address:
        remember_tables(project.settings, prod, address)
    assert project.states() == project.true_states()
    assert project.started == 0


def spoil(path: Path) -> None:
    path.write_text('{"number": "1:2", "states": 3}')


@pytest.mark.parametrize("harm", [spoil, Path.unlink, lambda path: path.write_bytes(b"\xff")])
def test_memory_that_cannot_be_read_is_none(project: Project, harm: Callable[[Path], Any]) -> None:
    harm(project.paths.state / "tables.json")
    assert project.states() == project.true_states()
    assert project.started == 2


def test_server_of_ones_own_is_always_asked(project: Project) -> None:
    settings = load_settings(project.folder, environ={"DATABASE_URL": "postgresql://u@h/d"})
    assert all(one.memory is None for one in database_artifacts(settings, project.paths, str))  # type: ignore[arg-type]


def test_where_no_server_ever_was_none_is_made(tmp_path):
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    assert set(project.states().values()) == {None}
    assert project.started == 0
    assert not project.paths.postgres.exists()
