"""What every step has come to: one line of JSON each, only ever appended.

A line counts once it is whole and synced. A kill in the middle of one leaves a torn end, which the
next opening cuts off.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from vigie.errors import VigieError
from vigie.i18n import _
from vigie.pipeline.artifacts import to_json_type
from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.lock import FlockUnsupported, try_flock

FORMAT = 1
# The fact of an outcome that no step made: a person chose an earlier result.
ROLLED_BACK_TO = "rolled_back_to"


class Status(StrEnum):
    """How a step, or a run, ended."""

    SUCCESS = "success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the ledger.

    Parameters
    ----------
    started, finished
        ISO timestamps in UTC.
    seconds
        Duration by a clock that nobody sets.
    outputs
        State of each output when the step had ended well.
    facts
        What the step wanted remembered.
    error
        For people: the kind of error, never its data.
    """

    run_id: str
    step: str
    status: Status
    started: str
    finished: str
    seconds: float
    fingerprint: Fingerprint
    outputs: Mapping[str, str | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "format": FORMAT,
            "run_id": self.run_id,
            "step": self.step,
            "status": str(self.status),
            "started": self.started,
            "finished": self.finished,
            "seconds": round(self.seconds, 3),
            "fingerprint": self.fingerprint.to_record(),
            "outputs": dict(self.outputs),
            "facts": dict(self.facts),
            "error": self.error,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Build it again from ``to_record``."""
        return cls(
            run_id=record["run_id"],
            step=record["step"],
            status=Status(record["status"]),
            started=record["started"],
            finished=record["finished"],
            seconds=record["seconds"],
            fingerprint=Fingerprint.from_record(record["fingerprint"]),
            outputs=record["outputs"],
            facts=record["facts"],
            error=record["error"],
        )


_FIELDS = set(Outcome.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Truncated:
    """The ledger ended in something that is no line; it was cut off there."""

    path: Path
    line: int
    byte_count: int

    def describe(self) -> str:
        """Return one translated line for the log."""
        return _(
            "{name} was damaged from line {line} on ({count} bytes cut off); the steps recorded "
            "there run again."
        ).format(name=self.path.name, line=self.line, count=self.byte_count)


class Ledger:
    """The outcomes of one project and mode, in memory and on disk.

    Make one with ``Ledger.open``. It is read once; ``append`` keeps memory and file in step. Only
    the holder of the project's lock appends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: list[dict[str, Any]] = []
        self._last: dict[str, dict[str, Any]] = {}
        self._last_success: dict[str, dict[str, Any]] = {}
        self._successes: dict[tuple[str, str], dict[str, Any]] = {}
        self._finished: dict[tuple[str, str], dict[str, Any]] = {}

    @classmethod
    def open(cls, path: Path, *, repair: bool = True) -> tuple[Self, Truncated | None]:
        """Read the ledger; with `repair`, cut the file at its first broken line.

        Without `repair` (for whoever only looks, and so holds no lock) the broken end is left
        out but the file stays as it is.
        """
        ledger = cls(path)
        with ledger._opened(os.O_RDWR if repair else os.O_RDONLY, create=False) as descriptor:
            if descriptor is None:
                return ledger, None
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                content = stream.read()
            good = ledger._load(content)
            if good == len(content):
                return ledger, None
            if repair:
                os.ftruncate(descriptor, good)
                os.fsync(descriptor)
        line_number = content[:good].count(b"\n") + 1
        return ledger, Truncated(path, line_number, len(content) - good)

    def append(self, outcome: Outcome) -> None:
        """Add one line, synced to the disk before this returns; all of it or nothing."""
        record = outcome.to_record()
        text = json.dumps(record, separators=(",", ":"), default=to_json_type)
        line = f"{text}\n".encode("ascii")
        with self._opened(os.O_RDWR, create=True) as descriptor:
            assert descriptor is not None
            end = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write_all(descriptor, line)
                os.fsync(descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
        self._remember(json.loads(line))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield every outcome, oldest first."""
        return map(Outcome.from_record, self._records)

    def last(self, step: str) -> Outcome | None:
        """Return the step's latest outcome, however it ended."""
        return _outcome(self._last.get(step))

    def last_success(self, step: str) -> Outcome | None:
        """Return the step's latest success."""
        return _outcome(self._last_success.get(step))

    def success_with(self, step: str, digest: str) -> Outcome | None:
        """Return the step's latest success with this fingerprint."""
        return _outcome(self._successes.get((step, digest)))

    def success_at(self, step: str, finished: str) -> Outcome | None:
        """Return the step's success that ended at this time, as a skipped step's reason says it."""
        return _outcome(self._finished.get((step, finished)))

    def _load(self, content: bytes) -> int:
        """Take in all lines up to the first broken one; return how many bytes they are."""
        good = 0
        while (end := content.find(b"\n", good)) >= 0:
            try:
                record = json.loads(content[good:end])
                if record["format"] == FORMAT:
                    self._remember(record)
            except (ValueError, KeyError, TypeError):
                break
            good = end + 1
        return good

    def _remember(self, record: dict[str, Any]) -> None:
        if missing := _FIELDS - record.keys():
            raise KeyError(*missing)
        step, status, digest = record["step"], record["status"], record["fingerprint"]["digest"]
        self._records.append(record)
        self._last[step] = record
        if status == Status.SUCCESS:
            self._last_success[step] = record
            self._successes[step, digest] = record
            self._finished[step, record["finished"]] = record

    @contextlib.contextmanager
    def _opened(self, flags: int, *, create: bool) -> Iterator[int | None]:
        """Yield the locked file's descriptor, or None where there is no file to open."""
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                flags |= os.O_CREAT
            # Windows would otherwise write two bytes for the end of a line.
            descriptor = os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o600)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise VigieError(
                _("The ledger cannot be opened: {reason}.").format(reason=error.strerror),
                where=str(self.path),
                fix=_("Give yourself the right to read and write it."),
            ) from error
        try:
            # Whoever appends holds this for milliseconds, so a short wait is enough.
            with contextlib.suppress(FlockUnsupported):
                _wait_for(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)


def _outcome(record: dict[str, Any] | None) -> Outcome | None:
    return None if record is None else Outcome.from_record(record)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _wait_for(descriptor: int, *, tries: int = 500, pause_seconds: float = 0.01) -> None:
    for _try in range(tries):
        if try_flock(descriptor):
            return
        time.sleep(pause_seconds)
    raise VigieError(
        _("Another process has kept the ledger locked for {seconds} seconds.").format(
            seconds=round(tries * pause_seconds)
        )
    )
