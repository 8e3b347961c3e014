"""What all figures have in common: their words, their size and style, and how they become PNG.

Matplotlib is used through its objects, without ``pyplot``: that would take time to import, hold
figures in global state and look for a screen.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.i18n import _
from vigie.names import shown_periods
from vigie.pipeline.artifacts import atomic_write
from vigie.report.numbers import Numbers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160
# The first colours of Okabe & Ito's palette: told apart by colour-blind readers too.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#5f6670"
# A bare figure has no title to make room for, and is shown beside another one.
_BARE_SIZE = 0.72


@dataclass(frozen=True, slots=True)
class FigureText:
    """What the figures say about where they come from.

    Parameters
    ----------
    language
        ``"en"`` or ``"fr"``; decides the words and how numbers are written.
    cutoff_days
        The day at which the features stop; None where the data set has no clock.
    generated
        Whether the data are generated: each figure then says so.
    split
        ``Split.document()``: which rows are judged.
    bare
        Without title and mark: for a page that has its own, and room for smaller figures.
    """

    language: str
    cutoff_days: int | None
    generated: bool
    split: Mapping[str, Any]
    bare: bool = False

    @property
    def numbers(self) -> Numbers:
        """Writes numbers in the language."""
        return Numbers(self.language)

    @property
    def legend_size(self) -> float:
        """Size of a legend's letters, in points."""
        return 10.5 if self.bare else 13

    def count(self, value: int) -> str:
        """Return a whole number with its thousands apart."""
        return self.numbers.count(value)

    def decimal(self, value: float | None, digits: int = 3) -> str:
        """Return a number with the language's decimal sign; a dash where there is none."""
        return self.numbers.decimal(value, digits)

    def percent(self, share: float, digits: int = 0) -> str:
        """Return a share (0 to 1) in percent."""
        return self.numbers.percent(share, digits)

    def judged_on(self, rows: int) -> str:
        """Return the line under a title: how many rows, of when, as known when."""
        periods = shown_periods(self.split.get("holdout_periods", ()))
        parts = [
            _("{count} hold-out rows of {periods}").format(count=self.count(rows), periods=periods)
            if periods
            else _("{count} hold-out rows, none of them trained on").format(count=self.count(rows))
        ]
        parts += self._cutoff()
        return " · ".join(parts)

    def fitted_on(self, rows: int) -> str:
        """Return the same for what the final model shows."""
        parts = [_("model trained on all {count} labelled rows").format(count=self.count(rows))]
        return " · ".join(parts + self._cutoff())

    def _cutoff(self) -> list[str]:
        if self.cutoff_days is None:
            return []
        return [_("as known at day {day}").format(day=self.cutoff_days)]


def figure_style() -> AbstractContextManager[None]:
    """Return matplotlib's settings for all figures, for a ``with``."""
    import matplotlib as mpl

    # A reader's own matplotlibrc must not change what the project's figures look like.
    style = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(("backend", "_"))}
    style |= {
        "font.family": "DejaVu Sans",
        "font.size": 12,
        "axes.titlesize": 15,
        "axes.labelsize": 13,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    return mpl.rc_context(style)


def halo() -> list[Any]:
    """Return what keeps words readable where they cross a line."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=3, foreground="white")]


def new_figure(
    width: float, height: float, title: str, subtitle: str, text: FigureText
) -> tuple[Figure, Axes]:
    """Return an empty figure (inches) under its title, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if text.bare:
        engine = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05)
        size = (width * _BARE_SIZE, (height - 1.0) * _BARE_SIZE)
        figure = Figure(figsize=size, layout=engine)
        return figure, figure.add_subplot()
    heading = _balanced(title, int(width * 6))
    below = textwrap.wrap(subtitle, int(width * 8.4), max_lines=3, placeholder=" …")
    # The words keep their place in inches; the axes and their labels share what is left.
    top = 0.25 + 0.32 * len(heading) + 0.26 * len(below)
    bottom = 0.75 if text.generated else 0.1
    rest = (0.0, bottom / height, 1.0, 1 - (top + bottom) / height)
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1, rect=rest)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    centred: dict[str, Any] = {"ha": "center", "va": "top", "in_layout": False}
    figure.text(
        0.5, 1 - 0.2 / height, "\n".join(heading), fontsize=18, fontweight="bold", **centred
    )
    place = 0.25 + 0.32 * len(heading)
    figure.text(0.5, 1 - place / height, "\n".join(below), fontsize=13, color=GREY, **centred)
    if text.generated:
        figure.text(
            0.5,
            0.22 / height,
            _("Generated data, nothing real"),
            fontsize=14,
            fontweight="bold",
            color="white",
            bbox={"facecolor": ORANGE, "edgecolor": "none", "boxstyle": "round,pad=0.4"},
            **centred | {"va": "bottom"},
        )
    return figure, figure.add_subplot()


def _balanced(words: str, width: int) -> list[str]:
    """Return lines of at most `width`, as few as there must be and about as long as each other."""
    lines = textwrap.wrap(words, width)
    for narrower in range(len(words) // max(1, len(lines)), width):
        balanced = textwrap.wrap(words, narrower)
        if len(balanced) == len(lines):
            return balanced
    return lines


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(as_png(figure))


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    # The canvas itself: ``savefig`` draws everything once more, for the layout alone, and writes
    # a fourth channel, which says of every point that it can't be seen through.
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    size = canvas.get_width_height()
    drawn = Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    buffer = io.BytesIO()
    # A fifth larger than by default, in a third of the time.
    drawn.convert("RGB").save(buffer, format="png", compress_level=2, dpi=(figure.dpi, figure.dpi))
    return buffer.getvalue()
