"""Keeping Python's warning filters whole while scikit-learn works in threads.

For every tree scikit-learn enters ``warnings.catch_warnings`` and sets the filters anew. They are
the whole process's, and two threads that do so at once leave some of them out; when all are gone
each further tree warns, thousands of lines, in twice the time (scikit-learn issue 32631; Python
3.14 has an answer of its own, ``-X context_aware_warnings``).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Kept(list[Any]):
    """Filters that stay as they are: a copy is the list itself, a change changes nothing."""

    def __getitem__(self, place: Any) -> Any:
        return self if place == slice(None) else super().__getitem__(place)

    def _unchanged(self, *_arguments: Any) -> None:
        pass

    __setitem__ = __delitem__ = insert = append = remove = clear = _unchanged


class _Keeper:
    """Who is in the context, and the filters to put back when the last one leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: Any = None

    def enter(self) -> None:
        with self._lock:
            if not self._users:
                self._before = warnings.filters
                # Something else may have lost them all, by the same race.
                some = self._before or [("default", None, Warning, None, 0)]
                warnings.filters = _Kept(some)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                warnings.filters = self._before


_KEEPER = _Keeper()


@contextmanager
def warnings_kept() -> Iterator[None]:
    """Keep the filters as they are until the last thread has left the context."""
    _KEEPER.enter()
    try:
        yield
    finally:
        _KEEPER.leave()
