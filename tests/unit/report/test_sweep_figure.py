"""The figure of a sweep says what it shows, in both languages, with the same bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from vigie.report.canvas import FigureText
from vigie.report.figures import Importance, importances_in_language
from vigie.report.figures import _predicted as predicted
from vigie.report.sweep_figure import write_sweep_figure


def metric(value: float | None) -> dict[str, float | None]:
    spread = None if value is None else 0.02
    return {
        "value": value,
        "low": None if value is None or spread is None else value - spread,
        "high": None if value is None or spread is None else value + spread,
    }


def point(day: int, auc: float | None, everybody: float | None = None) -> dict[str, Any]:
    return {
        "cutoff_days": day,
        "split": {"holdout_periods": ["2014"]},
        "holdout": {"rows": 1000 + day, "roc_auc": metric(auc)},
        "everybody": None if everybody is None else {"roc_auc": metric(everybody)},
        "logistic_regression": {"roc_auc": metric(auc)},
    }


def document(*points: dict[str, Any], generated: bool = False) -> dict[str, Any]:
    return {"kind": "random_forest", "generated": generated, "points": list(points)}


def words(figure: Figure) -> str:
    return "\n".join(str(found.get_text()) for found in figure.findobj(Text))


def test_it_says_what_it_shows(tmp_path: Path, drawn: list[Figure]) -> None:
    points = (point(0, 0.69, 0.75), point(30, 0.766, 0.84), point(180, 0.931, 0.97))
    for name in ("one.png", "two.png"):
        write_sweep_figure(tmp_path / name, document(*points, generated=True), "en")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    said = words(drawn[0])
    for part in (
        "How early can we know?", "0.690", "0.766", "0.931", "between 1,000 and 1,180",
        "those who can still be helped", "everybody, those already gone included",
        "logistic regression", "95% intervals", "Generated data, nothing real",
    ):  # fmt: skip
        assert part in said, part
    write_sweep_figure(tmp_path / "fr.png", document(*points), "fr")
    said = words(drawn[-1])
    assert "0,766" in said
    assert "ceux qu'on peut encore aider" in said
    assert "0.5" not in said


def test_days_without_a_figure_leave_the_others(tmp_path: Path, drawn: list[Figure]) -> None:
    bad = {"cutoff_days": -360, "error": "Nobody is left"}
    write_sweep_figure(tmp_path / "a.png", document(bad, point(30, 0.7), point(60, None)), "en")
    said = words(drawn[0])
    assert "0.700" in said
    assert "already gone" not in said
    write_sweep_figure(tmp_path / "b.png", document(bad), "en")
    assert (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("by", "wanted", "language", "said"),
    [
        ("capacity", 0.1, "en", "chosen so that 10% of all can be called"),
        ("recall", 0.9, "en", "chosen to find 90% of those at risk"),
        ("missed_per_alarm", 5.0, "en", "as if missing one cost 5 false alarms"),
        ("missed_per_alarm", 2.5, "en", "as if missing one cost 2.5 false alarms"),
        ("threshold", 0.5, "en", "Predicted (at risk from a score of 0.31)"),
    ],
)
def test_the_confusion_matrix_says_what_chose_its_threshold(
    by: str, wanted: float, language: str, said: str
) -> None:
    text = FigureText(language, None, False, {})
    choice = {"by": by, "wanted": wanted, "value": 0.31}
    found = predicted({"threshold": 0.31, "threshold_choice": choice}, text)
    assert said in found
    assert ("\n" in found) == (by != "threshold")


def test_bars_that_cannot_be_seen_are_left_out_unless_there_is_no_other() -> None:
    def bars(*losses: float) -> list[Importance]:
        entries = [{"topic": f"t{n}", "label": {}, "value": loss} for n, loss in enumerate(losses)]
        metadata = {"importances": [], "permutation_importance": entries}
        return importances_in_language(metadata, "en")

    assert [bar.label for bar in bars(0.02, 0.0001, 0.01, -0.1)] == ["t0", "t2"]
    assert [bar.label for bar in bars(0.0001, 0.0002)] == ["t1", "t0"]
