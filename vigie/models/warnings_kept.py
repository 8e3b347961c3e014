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

_lock = threading.Lock()
_users = 0
_before: Any = None


class _Kept(list[Any]):
    """Filters that stay as they are: a copy is the list itself, a change changes nothing."""

    def __getitem__(self, place: Any) -> Any:
        return self if place == slice(None) else super().__getitem__(place)

    def _unchanged(self, *_arguments: Any) -> None:
        pass

    __setitem__ = __delitem__ = insert = append = remove = clear = _unchanged


@contextmanager
def warnings_kept() -> Iterator[None]:
    """Keep the filters as they are until the last thread has left the context."""
    global _users, _before
    with _lock:
        if not _users:
            _before = warnings.filters
            # Something else may have lost them all, by the same race.
            warnings.filters = _Kept(_before or [("default", None, Warning, None, 0)])
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                warnings.filters = _before
