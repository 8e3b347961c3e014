"""Servers to load into: the embedded one, and the system's own where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.integration.data.embedded import processes_in
from tests.integration.data.place import Place
from tests.integration.data.school import debian_binaries, installed_server
from vigie.data.address import DatabaseAddress


@pytest.fixture(scope="module", params=["embedded", "installed"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DatabaseAddress]:
    if request.param == "embedded":
        embedded = pytest.importorskip("vigie.data.postgres", reason="no embedded server")
        with embedded.open_embedded(tmp_path_factory.mktemp("pg") / "data") as address:
            yield address
        return
    binaries = debian_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL is installed on this system")
    with installed_server(binaries) as address:
        yield address


@pytest.fixture
def place(server: DatabaseAddress, tmp_path: Path) -> Place:
    return Place(server, f"vigie_{uuid4().hex[:8]}", tmp_path / "files")


@pytest.fixture
def role(place: Place) -> Iterator[str]:
    name = f"analyst_{uuid4().hex[:8]}"
    place.ask(f"CREATE ROLE {name} LOGIN")
    yield name
    place.ask(f"DROP OWNED BY {name} CASCADE")
    place.ask(f"DROP ROLE {name}")


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
