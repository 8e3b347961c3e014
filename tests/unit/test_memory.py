"""How much memory there is: the machine's, or a container's."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from vigie.memory import GroupMemory, available_bytes, default_engine_bytes, group_memories

MB = 10**6


@pytest.fixture
def container(tmp_path: Path) -> tuple[Path, Path]:
    """A group without a limit inside one with 1,000 MB, of which 500 are in use."""
    group = tmp_path / "group" / "inner"
    group.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/group/inner\n")
    (group / "memory.max").write_text("max\n")
    outer = group.parent
    (outer / "memory.max").write_text(f"{1000 * MB}\n")
    (outer / "memory.current").write_text(f"{700 * MB}\n")
    (outer / "memory.stat").write_text(f"anon 1\ninactive_file {200 * MB}\n")
    return tmp_path, own


def test_a_containers_limit_counts(container: tuple[Path, Path]) -> None:
    assert list(group_memories(*container)) == [GroupMemory(1000 * MB, 500 * MB)]
    assert available_bytes(*container) == 500 * MB
    assert default_engine_bytes(*container) == 500 * MB


def test_without_a_container_it_is_half_of_the_machine(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert default_engine_bytes(nothing, nothing) == psutil.virtual_memory().total // 2
