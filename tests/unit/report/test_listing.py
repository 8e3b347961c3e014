from __future__ import annotations

import json

import pytest

from tests.report_sources import MISCHIEF, listing, predictions
from vigie.report.listing import make_listing, split_reason
from vigie.report.page import safe_json


def texts(found) -> list[str]:
    """Put the reasons together again, as the page does."""
    together = []
    for label, value, added in found.reasons:
        together.append(
            [
                f"{found.labels[one]}: {found.values[two]} ({found.added[three]})"
                for one, two, three in zip(label, value, added, strict=True)
            ]
        )
    return together


def test_what_repeats_stands_once_and_nothing_is_lost() -> None:
    table = predictions(500)
    found = listing(500)
    assert texts(found) == [table[f"reason_{place}"] for place in (1, 2, 3)]
    assert len(found.labels) == 40
    assert [found.columns[0].value(row) for row in range(500)] == table["module"]
    assert [f"{score / 1e6:.6f}" for score in found.scores] == table["risk_score"]
    assert found.count("high") == table["risk_level"].count("high")
    assert found.flagged_count == table["prediction"].count("at_risk")


def test_columns_are_chosen_from_or_searched() -> None:
    module, person, number, town = listing(500).columns
    assert module.choices
    assert module.values == tuple(f"M{one}" for one in range(7))
    assert (person.values, person.choices) == (None, False)
    assert (number.numeric, number.choices) == (True, False)
    assert all(isinstance(one, int) for one in number.rows)
    assert (town.label, town.values) == ("Town", ("", "Bonn", "Trier"))


def test_numbers_that_a_browser_would_change_stay_texts() -> None:
    base = {"risk_score": ["0.5"], "risk_level": ["medium"], "prediction": ["at_risk"]}
    for written in ("007", "12345678901234567", "1e5", "１２"):
        found = make_listing({**base, "id": [written]}, key=["id"], reported={}, labels={})
        assert found.columns[0].value(0) == written
        assert not found.columns[0].numeric
    found = make_listing({**base, "id": ["-3"]}, key=["id"], reported={}, labels={})
    assert found.columns[0].value(0) == -3


def test_names_are_as_they_were_before_the_csv_made_them_harmless() -> None:
    found = listing(20)
    assert tuple(found.columns[1].value(row) for row in range(len(MISCHIEF))) == MISCHIEF


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("clicks: 3 (+0.10)", ("clicks", "3", "+0.10")),
        ("clics : 3,5 (-0,10)", ("clics", "3,5", "-0,10")),
        ("share: of it: 89% (+0.12)", ("share: of it", "89%", "+0.12")),
        ("(nothing)", ("(nothing)", "", "")),
        ("a: b", ("a: b", "", "")),
    ],
)
def test_a_reason_comes_apart(text: str, parts: tuple[str, str, str]) -> None:
    assert split_reason(text) == parts


def test_rows_without_reasons_and_without_rows() -> None:
    table = predictions(3)
    table["reason_2"][1] = table["reason_3"][1] = ""
    found = make_listing(table, key=["person"], reported={}, labels={})
    assert [len(row.reasons) for row in found.first(9)] == [3, 1, 3]
    empty = make_listing({name: [] for name in table}, key=["person"], reported={}, labels={})
    assert len(empty) == 0
    assert empty.first(5) == []


def test_embedded_json_ends_no_script_and_is_the_same_json() -> None:
    value = listing(30).to_json()
    text = safe_json(value)
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == json.loads(json.dumps(value))
