"""Progress of work that takes longer than two seconds: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vigie.i18n import _

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

BAR_AFTER_SECONDS = 2.0
PLAIN_EVERY_SECONDS = 10.0
# Often enough to be seen moving, seldom enough for a slow connection.
BAR_REFRESHES_PER_SECOND = 4
# Narrower windows have no room for the rate, or for the bar itself.
ROOM_FOR_RATE, ROOM_FOR_BAR = 50, 64
# Of the first hundredth nothing follows for the rest.
TELLING_SHARE = 0.01


@dataclass(slots=True)
class Work:
    """What is being done: how much of it in all, and how long it took the last time."""

    description: str
    total: float | None
    unit: str | None = None
    expected_seconds: float | None = None
    started: float = field(default_factory=time.monotonic)
    # When the first piece was done, and how much that was.
    _first: tuple[float, float] | None = field(default=None, init=False)

    def is_at(self, done: float) -> None:
        """Take note of how much is done by now."""
        if self._first is None and done:
            self._first = time.monotonic(), done

    def rate(self, done: float) -> str:
        """Return how quickly it goes, on the whole."""
        seconds = time.monotonic() - self.started
        if not done or not self.total or seconds <= 0:
            return ""
        if self.unit == "bytes":
            return _("{rate:.1f} MB/s").format(rate=done / seconds / 1e6)
        if self.unit == "rows":
            return _("{rate} rows/s").format(rate=f"{done / seconds:,.0f}")
        return _("{rate:.1f} %/s").format(rate=done / self.total / seconds * 100)

    def seconds_left(self, done: float) -> float | None:
        """Return how long it will take still, at the pace so far; None where that can't be told.

        The pace is that since the first piece was done: what comes before it is no measure of what
        follows.
        """
        if not self.total or done < TELLING_SHARE * self.total:
            return None
        since, before = self._first or (self.started, 0.0)
        if done <= before:
            since, before = self.started, 0.0
        return (time.monotonic() - since) * max(0.0, self.total - done) / (done - before)


class Silent:
    """Shows nothing."""

    def advance_to(self, done: float) -> None:
        """Show nothing."""


class PlainLines:
    """A line now and then, for logs and pipes."""

    def __init__(self, show: Callable[[str], None], work: Work) -> None:
        self.show, self.work = show, work
        self.next_line = work.started + BAR_AFTER_SECONDS

    def advance_to(self, done: float) -> None:
        """Show the share that is done, how quickly and for how long still; every ten seconds."""
        now = time.monotonic()
        self.work.is_at(done)
        if now >= self.next_line and self.work.total:
            self.next_line = now + PLAIN_EVERY_SECONDS
            told = [f"{done / self.work.total:.0%}", self.work.rate(done)]
            left = self.work.seconds_left(done)
            if left is not None:
                told.append(_("{seconds:.0f} s left").format(seconds=left))
            self.show(f"   … {self.work.description}: {', '.join(filter(None, told))}")


class LiveBar:
    """A Rich progress bar that appears late and leaves nothing behind."""

    def __init__(self, screen: Console, work: Work) -> None:
        self.screen, self.work = screen, work
        self.done = 0.0
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.lock = threading.Lock()
        self.stopped = False

    def start(self) -> None:
        """Show the bar (called two seconds after the step began)."""
        from rich.progress import Progress

        with self.lock:
            if self.stopped:
                return
            bar = Progress(
                *_columns(self.screen.width, self.work),
                console=self.screen,
                transient=True,
                refresh_per_second=BAR_REFRESHES_PER_SECOND,
                get_time=time.monotonic,
            )
            self.task = bar.add_task(self.work.description, total=self.work.total, **self._shown())
            bar.tasks[0].start_time = self.work.started
            bar.start()
            self.bar = bar

    def _shown(self) -> dict[str, Any]:
        left = self.work.seconds_left(self.done)
        return {
            "completed": self.done,
            "rate": self.work.rate(self.done),
            "left": "" if left is None else _("{seconds:.0f} s left").format(seconds=left),
        }

    def advance_to(self, done: float) -> None:
        """Move the bar."""
        self.done = done
        self.work.is_at(done)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, **self._shown())

    def stop(self) -> None:
        """Take the bar away."""
        with self.lock:
            self.stopped = True
            if self.bar is not None:
                self.bar.stop()


def _columns(width: int, work: Work) -> Iterator[ProgressColumn]:
    """Yield what a bar shows: in a narrow window less, never on two lines."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    def text(shape: str) -> ProgressColumn:
        return TextColumn(shape, table_column=Column(no_wrap=True))

    yield TextColumn(
        "   {task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")
    )
    if work.total is None:
        yield TimeElapsedColumn()
        if work.expected_seconds and width >= ROOM_FOR_RATE:
            yield text(_("of about {seconds:.0f} s").format(seconds=work.expected_seconds))
        return
    if width >= ROOM_FOR_BAR:
        yield BarColumn(bar_width=width // 4)
    yield text("{task.percentage:>3.0f}%")
    if width >= ROOM_FOR_RATE:
        yield text("{task.fields[rate]}")
    yield text("{task.fields[left]}")
