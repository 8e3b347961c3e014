"""What the tests of several figures share."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from vigie.report import canvas, figures


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written as PNG from now on."""
    found: list[Figure] = []
    original = canvas.as_png

    def as_png(figure: Figure) -> bytes:
        found.append(figure)
        return original(figure)

    for module in (canvas, figures):
        monkeypatch.setattr(module, "as_png", as_png)
    return found
