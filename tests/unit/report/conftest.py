"""What the tests of several figures share."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written as PNG from now on."""
    figures: list[Figure] = []
    original = FigureCanvasAgg.print_png

    def print_png(self: Any, *arguments: Any, **values: Any) -> None:
        original(self, *arguments, **values)
        figures.append(self.figure)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", print_png)
    return figures
