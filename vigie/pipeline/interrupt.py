"""Work beside the main thread, so that Ctrl-C is heard at once whatever a library is doing.

A library that is in C code hears nothing, or hears it in its own way: ADBC makes a refused query
of it, DuckDB an exception of its own or, in the middle of a Parquet file, an abort.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 1.2


def run_interruptibly(work: Callable[[], T], *, stop: Callable[[], None] | None = None) -> T:
    """Return what `work` returns, or raise what it raises; Ctrl-C is raised meanwhile.

    Parameters
    ----------
    work
        Runs in a thread of its own, unless we are not in the main thread ourselves.
    stop
        Asks the work to stop, and is called until it has or patience ends. Without it, what was
        begun is left to itself: the process is about to end, see ``vigie.cli.leave``.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="work", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
    except BaseException:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while stop is not None and thread.is_alive() and time.monotonic() < give_up:
            stop()
            thread.join(POLL_SECONDS)
        raise
    if failures:
        raise failures[0]
    return results[0]
