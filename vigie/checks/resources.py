"""Whether disk and memory suffice for what the raw files will need."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vigie.checks.context import CheckContext
from vigie.checks.estimate import (
    Needs,
    estimate_needs,
    parse_bytes,
    shown_bytes,
    uncompressed_bytes,
)
from vigie.checks.finding import Finding
from vigie.data.raw_files import find_raw_files
from vigie.errors import DataError
from vigie.i18n import _
from vigie.memory import available_bytes, default_engine_bytes
from vigie.verdict import Verdict

# The estimate is from few measurements, and other things write too.
COMFORT = 1.5


# --- disk ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a run writes into, and how many bytes."""

    folder: Path
    bytes_needed: int


def check_disk(context: CheckContext) -> Iterator[Finding]:
    """Find out whether project, temporary folder and embedded server have room enough."""
    needs = _needs(context)
    places = [
        Place(context.paths.project, needs.files),
        Place(Path(tempfile.gettempdir()), needs.temporary),
    ]
    if needs.database:
        places.append(Place(context.paths.postgres, needs.database))
    yield from judge_places(places)


def judge_places(places: list[Place]) -> Iterator[Finding]:
    """Yield a finding for each file system; places on the same one need their sum."""
    by_device: dict[int, list[Place]] = {}
    for place in places:
        there = Place(existing_part(place.folder), place.bytes_needed)
        by_device.setdefault(there.folder.stat().st_dev, []).append(there)
    for together in by_device.values():
        folder = together[0].folder
        needed = sum(place.bytes_needed for place in together)
        yield _judge_disk(folder, free_bytes(folder), needed)


def existing_part(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists; links are followed."""
    folder = folder.resolve()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def free_bytes(folder: Path) -> int:
    """Return what an ordinary user may still write on the folder's file system."""
    import psutil

    return int(psutil.disk_usage(str(folder)).free)


def _judge_disk(folder: Path, free: int, needed: int) -> Finding:
    shown = {"free": shown_bytes(free), "needed": shown_bytes(needed), "folder": folder}
    if free < needed:
        said = _("{folder}: {free} free, but a run needs about {needed}").format(**shown)
        missing = shown_bytes(needed - free)
        fix = _("Make at least {missing} free on the disk of {folder}.")
        return Finding("disk", Verdict.FAIL, said, fix.format(missing=missing, folder=folder))
    if free < needed * COMFORT:
        said = _("{folder}: {free} free; a run needs about {needed}, which is close").format(
            **shown
        )
        fix = _("Make room on the disk of {folder}.").format(folder=folder)
        return Finding("disk", Verdict.WARN, said, fix)
    said = _("{folder}: {free} free, about {needed} needed").format(**shown)
    return Finding("disk", Verdict.PASS, said)


# --- memory ----------------------------------------------------------------------------------


def check_memory(context: CheckContext) -> Iterator[Finding]:
    """Find out whether there is memory enough, also within a container's limit."""
    import psutil

    needed = _needs(context).memory
    available = available_bytes()
    yield judge_memory(available, needed, swap=int(psutil.swap_memory().free))


def judge_memory(available: int, needed: int, *, swap: int) -> Finding:
    """Return what `available` bytes mean for a run that needs `needed`."""
    shown = {"available": shown_bytes(available), "needed": shown_bytes(needed)}
    fix = _("End other programs, give the container more memory, or lower [engine] memory_limit.")
    if available + swap < needed:
        said = _("{available} of memory available, but a run needs about {needed}")
        return Finding("memory", Verdict.FAIL, said.format(**shown), fix)
    if available < needed:
        said = _("{available} of memory available; a run needs about {needed} and would swap")
        return Finding("memory", Verdict.WARN, said.format(**shown), fix)
    if available < needed * COMFORT:
        said = _("{available} of memory available; a run needs about {needed}, which is close")
        return Finding("memory", Verdict.WARN, said.format(**shown), fix)
    said = _("{available} available, about {needed} needed").format(**shown)
    return Finding("memory", Verdict.PASS, said)


# --- what is needed --------------------------------------------------------------------------


def _needs(context: CheckContext) -> Needs:
    """Return the estimate; with raw files that can't be told apart, for as many as there are."""
    found: Needs = context.once("needs", lambda: _estimate(context))
    return found


def _estimate(context: CheckContext) -> Needs:
    try:
        files = list(find_raw_files(context.paths.raw, context.dataset).values())
        raw_bytes = uncompressed_bytes(files)
    except (DataError, OSError):
        # What is wrong with them is for `raw` to say.
        raw_bytes = _bytes_below(context.paths.raw)
    limit = context.settings.get("engine.memory_limit")
    return estimate_needs(
        raw_bytes,
        embedded=not context.settings.database_configured,
        engine_bytes=parse_bytes(limit) if limit else default_engine_bytes(),
        tables="load" in context.steps,
    )


def _bytes_below(folder: Path) -> int:
    return sum(
        Path(place, name).stat().st_size
        for place, _folders, names in os.walk(folder)
        for name in names
        if Path(place, name).is_file()
    )
