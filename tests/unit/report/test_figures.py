from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from vigie.i18n import _
from vigie.models.evaluate import evaluate
from vigie.pipeline.definition import HELPER_LIBRARIES
from vigie.pipeline.helper import Helper
from vigie.report.canvas import FigureText
from vigie.report.figures import (
    FIGURE_NAMES,
    Importance,
    draw_figures,
    importances_in_language,
    write_figures,
)

LONG = "nombre moyen de jours entre la remise et la date limite des devoirs notés par un tuteur"
BARS = [Importance(f"{n} {LONG * (n % 2 + 1)}", 0.2 / (n + 1), 0.1 / (n + 1)) for n in range(25)]
BARS.append(Importance("x" * 120, 0.3, 0.4))


@pytest.fixture(scope="module")
def evaluation() -> dict:
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.4).astype(int)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    return evaluate(
        scores, labels, 0.5, groups=np.arange(300), train_prevalence=0.4, seed=1, draws=50
    )


def text(language: str = "en", *, generated: bool = False, **more) -> FigureText:
    values = {"cutoff_days": 90, "split": {"holdout_periods": ["2014"]}} | more
    return FigureText(language=language, generated=generated, **values)


def words(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(found.get_text() for found in figure.findobj(Text))


def assert_nothing_cut_off(figure: Figure) -> None:
    from matplotlib.text import Text

    renderer = figure.canvas.get_renderer()
    for found in figure.findobj(Text):
        if found.get_text() and found.get_visible():
            box = found.get_window_extent(renderer)
            # Tick labels outside the axes' limits are never drawn.
            if box.width and not _is_hidden_tick(found, figure):
                assert box.x0 >= 0, found.get_text()
                assert box.y0 >= 0, found.get_text()
                assert box.x1 <= figure.bbox.width, found.get_text()
                assert box.y1 <= figure.bbox.height, found.get_text()


def _is_hidden_tick(found, figure: Figure) -> bool:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if found in (tick.label1, tick.label2):
                    return not low <= tick.get_loc() <= high
    return False


@pytest.mark.parametrize("language", ["en", "fr"])
def test_wide_figures_with_nothing_cut_off(tmp_path, evaluation, drawn, language):
    shares: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_figures(
            tmp_path,
            evaluation,
            BARS,
            text(language, generated=True, split={"holdout_periods": []}),
            labelled_rows=1_234_567,
            losses=[Importance(LONG, 0.02, None), Importance("x" * 120, 0.01, None)],
            class_names=("réussite ou distinction en fin de module", "échec ou abandon ensuite"),
            progress=shares.append,
        )
    assert shares == pytest.approx([n / 7 for n in range(1, 8)])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*FIGURE_NAMES, "permutation_importance.png"}
    assert len(drawn) == 7
    for figure in drawn:
        assert figure.bbox.width >= 1200
        assert_nothing_cut_off(figure)


def test_the_same_bytes_each_time(tmp_path, evaluation):
    for folder in ("a", "b"):
        write_figures(tmp_path / folder, evaluation, BARS, text(), labelled_rows=300)
    for name in FIGURE_NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_helper_draws_the_same(evaluation, tmp_path):
    told: dict[str, list[float]] = {"a": [], "b": []}
    write_figures(
        tmp_path / "a", evaluation, BARS, text("fr"), labelled_rows=300,
        progress=told["a"].append,
    )  # fmt: skip
    helper = Helper(HELPER_LIBRARIES)
    try:
        write_figures(
            tmp_path / "b", evaluation, BARS, text("fr"), labelled_rows=300,
            progress=told["b"].append, helper=helper,
        )  # fmt: skip
        assert helper.is_there
    finally:
        helper.close()
    for name in FIGURE_NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert told["a"] == told["b"]


def test_a_folder_that_takes_no_more_leaves_the_helper_to_others(evaluation, tmp_path, monkeypatch):
    def full(_self: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    helper = Helper([])
    try:
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="space") as told:
            write_figures(
                tmp_path, evaluation, BARS, text(), labelled_rows=300, helper=helper
            )  # fmt: skip
        # While the failure is still at hand, with all that it holds.
        assert told.traceback
        assert next(iter(helper.each(draw_figures, evaluation, BARS, text(), 1, [], None, None)))
    finally:
        helper.close()


def test_readers_settings_do_not_change_the_figures(tmp_path, evaluation):
    import matplotlib as mpl

    write_figures(tmp_path / "a", evaluation, BARS, text(), labelled_rows=300)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        write_figures(tmp_path / "b", evaluation, BARS, text(), labelled_rows=300)
        assert mpl.rcParams["font.size"] == 30
    for name in FIGURE_NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_figures_say_what_they_show(tmp_path, evaluation, drawn):
    write_figures(tmp_path, evaluation, BARS, text(), labelled_rows=12_345)
    matrix, curve, bars, *_more = (words(figure) for figure in drawn)
    for shown in (matrix, curve):
        assert "300 hold-out rows of 2014 · as known at day 90" in shown
    auc = evaluation["metrics"]["roc_auc"]
    assert f"{auc['value']:.3f} [{auc['low']:.3f}; {auc['high']:.3f}]" in curve
    assert "chance: AUC = 0.500" in curve
    assert str(evaluation["confusion"]["true_positive"]) in matrix
    assert "not at risk" in matrix
    assert "all 12,345 labelled rows" in bars
    assert "20 features" in bars
    assert "Generated" not in matrix + curve + bars


def test_figures_for_whoever_acts(tmp_path, evaluation, drawn):
    losses = [Importance("missed", 0.05, None), Importance("clicks", 0.02, None)]
    write_figures(tmp_path, evaluation, BARS, text(), labelled_rows=300, losses=losses)
    calibration, capacity, precision, shuffled = (words(figure) for figure in drawn[3:])
    error = evaluation["calibration"]["expected_calibration_error"] * 100
    assert f"mean distance: {error:.1f} points of a hundred" in calibration
    tenth = next(row for row in evaluation["capacity"] if row["share"] == 0.1)
    assert f"{tenth['rows']} called: {tenth['reached']} at risk" in capacity
    average = evaluation["metrics"]["average_precision"]["value"]
    assert f"average precision = {average:.3f}" in precision
    assert "missed" in shuffled
    assert "2 topics" in shuffled


def test_generated_data_are_named_in_each(tmp_path, evaluation, drawn):
    write_figures(tmp_path, evaluation, BARS, text(generated=True), labelled_rows=300)
    assert all("Generated data, nothing real" in words(figure) for figure in drawn)


def test_french_numbers(tmp_path, evaluation, drawn):
    write_figures(tmp_path, evaluation, BARS, text("fr"), labelled_rows=12_345)
    matrix, curve, bars, *_more = (words(figure) for figure in drawn)
    assert "0,500" in curve
    assert "12\N{NARROW NO-BREAK SPACE}345" in bars
    assert "\N{NO-BREAK SPACE}%" in matrix


def test_the_callers_language_stays(tmp_path, evaluation):
    before = _("Real outcome")
    write_figures(tmp_path, evaluation, BARS, text("fr"), labelled_rows=3)
    assert _("Real outcome") == before


def test_one_class_and_no_cutoff(tmp_path, drawn):
    found = evaluate(
        np.linspace(0, 1, 9),
        np.ones(9),
        0.5,
        groups=np.arange(9),
        train_prevalence=0.4,
        seed=1,
        draws=20,
    )
    write_figures(tmp_path, found, BARS[:1], text(cutoff_days=None), labelled_rows=9)
    assert "no curve" in words(drawn[1])
    assert "day" not in words(drawn[0])


def test_importances_come_in_the_readers_language():
    metadata = {
        "params": {"n_estimators": 4},
        "features": [
            {"name": "a", "label": {"en": "clicks", "fr": "clics"}},
            {"name": "b", "label": None},
        ],
        "importances": [
            {"name": "a", "mean": 0.3, "std": 0.1},
            {"name": "b", "mean": 0.7, "std": 0.2},
        ],
    }
    assert importances_in_language(metadata, "fr") == [
        Importance("b", 0.7, 0.1),
        Importance("clics", 0.3, 0.05),
    ]
    assert len(importances_in_language(metadata, "en", top=1)) == 1


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys; from vigie.report import canvas, figures;"
        "assert 'matplotlib' not in sys.modules;"
        "from pathlib import Path;"
        "import numpy as np; from vigie.models.evaluate import evaluate;"
        "found = evaluate(np.array([.1, .9]), np.array([0, 1]), .5, groups=np.arange(2),"
        "train_prevalence=.5, seed=1, draws=5);"
        f"figures.write_figures(Path({str(tmp_path)!r}), found,"
        "[figures.Importance('a', .1, .1)],"
        "canvas.FigureText('en', 1, True, {}), labelled_rows=1);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
