"""Ctrl-C during a load: stops at once and stays a Ctrl-C.

ADBC takes the signal while it waits for the server, turns it into a refused query, and looks at
nothing while it sends rows. So the load runs beside the main thread, which stays free to hear.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.2
# The server rolls back by itself when the process ends: no need to see it happen.
PATIENCE_SECONDS = 1.2


class LoadInterrupted(Exception):
    """The load was told to stop; never leaves this thread's load."""


class Interrupt:
    """How one thread tells another one's load to stop."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self.connection: Any = None

    def check(self) -> None:
        """Raise ``LoadInterrupted`` where a stop was asked for."""
        if self._requested.is_set():
            raise LoadInterrupted

    def request(self) -> None:
        """Ask for a stop, and cancel what the server is doing for the load."""
        self._requested.set()
        with suppress(Exception):
            self.connection.adbc_cancel()

    def wait(self, seconds: float) -> None:
        """Sleep, or wake up where a stop is asked for."""
        self._requested.wait(seconds)
        self.check()


def run_interruptibly(work: Callable[[Interrupt], T]) -> T:
    """Return what `work` returns; an exception in the main thread meanwhile stops it first."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        return work(interrupt)
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(interrupt))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="load", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
    except BaseException:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while thread.is_alive() and time.monotonic() < give_up:
            interrupt.request()
            thread.join(POLL_SECONDS)
        raise
    if failures:
        raise failures[0]
    return results[0]
