"""Work beside the main thread, so that Ctrl-C is heard at once whatever a library is doing.

A library that is in C code hears nothing, or hears it in its own way: DuckDB makes an exception of
its own of it or, in the middle of a Parquet file, an abort.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 1.2
# What people and systems end a run with.
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_beside: ContextVar[Beside[Any] | None] = ContextVar("vigie_beside", default=None)


class Beside(Generic[T]):
    """Work in a thread of its own, begun now and waited for later.

    Parameters
    ----------
    work
        Runs in a copy of the present context (language and the like).
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self.stop_requested = False
        self._results: list[T] = []
        self._failures: list[BaseException] = []
        self._stops: list[Callable[[], None]] = []
        # Not what the thread says of itself: Ctrl-C while it is joined marks it as ended.
        self._ended = threading.Event()

        def run() -> None:
            _beside.set(self)
            try:
                self._results.append(work())
            except BaseException as error:
                self._failures.append(error)
            finally:
                self._ended.set()

        self._thread = threading.Thread(
            target=copy_context().run, args=(run,), name="work", daemon=True
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    def wait(self, seconds: float = POLL_SECONDS) -> None:
        """Wait for its end, so long at the most."""
        self._ended.wait(seconds)

    def result(self) -> T:
        """Wait for its end; return what the work returned, or raise what it raised."""
        while self.is_running:
            self.wait()
        if self._failures:
            raise self._failures[0]
        return self._results[0]

    def stop(self) -> None:
        """Ask the work to stop until it has, or patience ends."""
        self.stop_requested = True
        give_up = time.monotonic() + PATIENCE_SECONDS
        while self.is_running and time.monotonic() < give_up:
            for stop in list(self._stops):
                stop()
            self.wait()

    def heed(self, stop: Callable[[], None]) -> None:
        """Call `stop` from now on where a stop is asked for."""
        self._stops.append(stop)


def heed(stop: Callable[[], None] | None = None) -> None:
    """Go on, unless we are work beside the main thread that was asked to stop.

    Parameters
    ----------
    stop
        Called from now on where that is asked for.

    Raises
    ------
    KeyboardInterrupt
        When it was asked for already.
    """
    beside = _beside.get()
    if beside is None or threading.current_thread() is threading.main_thread():
        return
    if beside.stop_requested:
        raise KeyboardInterrupt
    if stop is not None:
        beside.heed(stop)


def run_interruptibly(work: Callable[[], T], *, stop: Callable[[], None] | None = None) -> T:
    """Return what `work` returns, or raise what it raises; Ctrl-C is raised meanwhile.

    Parameters
    ----------
    work
        Runs in a thread of its own, unless we are not in the main thread ourselves.
    stop
        Asks the work to stop, and is called until it has or patience ends. Without it, what was
        begun is left to itself: the process is about to end, see ``vigie.cli.leave``.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; also where work beside the main thread was asked to stop before it came here.
    """
    if threading.current_thread() is not threading.main_thread():
        # What the step did until now may have heard nothing of it.
        heed(stop)
        return work()
    running = Beside(work)
    if stop is not None:
        running.heed(stop)
    try:
        return running.result()
    except BaseException:
        # Where the work has ended, with this, there is nothing to stop.
        running.stop()
        raise


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Hear Ctrl-C, and what else asks for an end, after the block only, and then surely.

    Around a fork Python calls functions of its libraries, and drops what they raise: a
    ``KeyboardInterrupt`` that comes just then would be printed and forgotten.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDS}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    heard: list[tuple[int, Any]] = []
    for number in ours:
        signal.signal(number, lambda *given: heard.append(given))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if heard:
            ours[signal.Signals(heard[0][0])](*heard[0])
