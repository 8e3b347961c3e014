"""How much memory there is for this process: the machine's, or less in a container."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
# What version 1 says where there is no limit: the highest address.
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """A control group's limit, and what is left of it when page cache is given back; bytes."""

    limit: int
    rest: int


def default_engine_bytes(cgroup: Path = CGROUP, own: Path = OWN_CGROUP) -> int:
    """Return what the engine may use by default: half of the memory, of the container's if less.

    The other half is for the interpreter, the models and the database.
    """
    import psutil

    machine = int(psutil.virtual_memory().total)
    return min([machine, *(group.limit for group in group_memories(cgroup, own))]) // 2


def available_bytes(cgroup: Path = CGROUP, own: Path = OWN_CGROUP) -> int:
    """Return the memory that can be had without swapping: the machine's, or the cgroup's rest."""
    import psutil

    machine = int(psutil.virtual_memory().available)
    return min([machine, *(group.rest for group in group_memories(cgroup, own))])


def group_memories(cgroup: Path, own: Path) -> Iterator[GroupMemory]:
    """Yield what each limited control group above this process allows.

    Parameters
    ----------
    cgroup
        Where the control groups are mounted.
    own
        The file that names this process's groups.
    """
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if controllers == "":
            root, limit, used, cache = cgroup, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit = cgroup / "memory", "memory.limit_in_bytes"
            used, cache = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = root / path.lstrip("/")
        # Inside a container the path may be the host's; its own group is the root then.
        for folder in dict.fromkeys([group, *group.parents, root]):
            if folder != root and root not in folder.parents:
                continue
            most = _number_in(folder / limit)
            if most is None or most >= _NO_LIMIT:
                continue
            taken = (_number_in(folder / used) or 0) - _stat(folder / "memory.stat", cache)
            yield GroupMemory(most, max(0, most - max(0, taken)))


def _number_in(file: Path) -> int | None:
    try:
        text = file.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None


def _stat(file: Path, name: str) -> int:
    try:
        lines = file.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return 0
    found = (line.split() for line in lines)
    return next((int(parts[1]) for parts in found if parts[:1] == [name]), 0)
