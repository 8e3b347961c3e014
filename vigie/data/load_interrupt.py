"""How a load that runs beside the main thread is told to stop."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

# Where the server doesn't take the request in this time, it notices the lost connection later.
CANCEL_SECONDS = 1.0


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
            self.connection.cancel_safe(timeout=CANCEL_SECONDS)

    def wait(self, seconds: float) -> None:
        """Sleep, or wake up where a stop is asked for."""
        self._requested.wait(seconds)
        self.check()
