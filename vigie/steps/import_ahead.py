"""Importing what later steps need while the database is busy.

scikit-learn alone takes longer to import than a small forest to train. While rows stream to
PostgreSQL the interpreter mostly waits, so the imports cost next to nothing there.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Sequence
from types import TracebackType

MODULES = {
    "features": ("ibis.backends.duckdb",),
    "train": ("pyarrow.dataset", "sklearn.ensemble", "sklearn.model_selection"),
    "evaluate": (
        "sklearn.metrics",
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
        "matplotlib.backends.backend_svg",
    ),
    "predict": ("sklearn.ensemble", "jinja2"),
}


class ImportAhead:
    """Imports in a thread from ``start`` on; leaving the context waits for it.

    The waiting matters: two threads that import the same package at once can see each other's
    half-made modules. For that reason ``start`` is to be called when whoever calls has imported
    what it needs itself.

    Parameters
    ----------
    steps
        The steps that are still to run.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._modules = [module for step in steps for module in MODULES.get(step, ())]
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ImportAhead:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # After a failure nothing is imported any more, so nobody needs to wait.
        if self._thread is not None and error is None:
            self._thread.join()

    def start(self) -> None:
        """Begin, where that has not been done yet."""
        if self._thread is None and self._modules:
            self._thread = threading.Thread(target=self._import, name="import-ahead", daemon=True)
            self._thread.start()

    def _import(self) -> None:
        for module in self._modules:
            # Whoever really needs it says what is wrong with it.
            with contextlib.suppress(Exception):
                importlib.import_module(module)
