"""Importing what later steps need while earlier ones work.

scikit-learn takes longer to import than a small forest to train; while DuckDB and PostgreSQL work
the interpreter mostly waits, so it costs next to nothing there.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Sequence
from typing import Self


def import_if_possible(module: str) -> None:
    """Import a module; whoever really needs it says what is wrong with it."""
    with contextlib.suppress(Exception):
        importlib.import_module(module)


def import_all(modules: Sequence[str]) -> None:
    """Import those modules that can be."""
    for module in modules:
        import_if_possible(module)


class ImportAhead:
    """Imports modules in a thread, in their order.

    Two threads that import the same package at once can see each other's half-made modules. So
    nobody else, no step and no check, may import one of these packages before ``wait_for``, and
    each package is named in small parts: who waits for the end waits for the part that has begun.

    Parameters
    ----------
    modules
        What to import.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = list(dict.fromkeys(modules))
        self._done = {module: threading.Event() for module in self._modules}
        self._wanted = True
        # No daemon: one that is in the middle of a C library when the process ends may crash it.
        self._thread = threading.Thread(target=self._import, name="import-ahead")
        if self._modules:
            self._thread.start()

    def wait_for(self, modules: Sequence[str]) -> None:
        """Wait until those of `modules` that are imported here are there."""
        for module in modules:
            if module in self._done:
                self._done[module].wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Begin no other module."""
        self._wanted = False

    def _import(self) -> None:
        for module in self._modules:
            if self._wanted:
                import_if_possible(module)
            self._done[module].set()
