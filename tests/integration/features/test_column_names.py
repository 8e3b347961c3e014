"""People's columns may be called anything: none is taken for one that vigie adds."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.integration.features.test_due_dates import DECLARATION, features_of
from vigie.data.cohort import _attribute_columns
from vigie.dataset.declaration import parse_dataset
from vigie.errors import DeclarationError

# Columns as vigie once called what it adds.
COLUMNS = 'v_amount = { type = "integer" }\nw_amount = { type = "boolean" }\n'
FEATURES = """
[[features]]
kind = "expected"
name = "rates"
due = "instalments"
due_clock = "due"
due_on = ["plan"]
events = "payments"
match = { instalment_id = "instalment_id", person = "person" }
label = { en = "rates", fr = "mensualités" }
[[features.measures]]
name = "amount"
expression = "v_amount * 100"
when = "event_day IS NULL"
label = { en = "unpaid", fr = "impayé" }
aggregates = ["sum"]
[[features]]
kind = "derived"
name = "per_rate"
expression = "rates_amount_sum / 2"
label = { en = "per rate", fr = "par mensualité" }
"""


def build(folder: Path, features: str, columns: str = COLUMNS) -> dict[str, Any]:
    """Return the features of one person with two instalments of 5, of which one is unpaid."""
    text = DECLARATION.format(due="date", paid="date").replace(
        'due = { type = "date" }\n', f'due = {{ type = "date" }}\n{columns}'
    )
    assert columns in text
    dataset = parse_dataset(text + features, "loans")
    tables: dict[str, dict[str, list[Any]]] = {
        "instalments": {
            "instalment_id": [1, 2],
            "plan": ["a", "a"],
            "due": [date(2024, 1, 10), date(2024, 2, 10)],
            "v_amount": [5, 5],
            "w_amount": [True, True],
        },
        "payments": {"instalment_id": [1], "person": [7], "paid": [date(2024, 1, 9)]},
        "people": {"plan": ["a"], "person": [7], "asked": [date(2024, 3, 31)], "bad": [1]},
    }
    cohort = {
        "cohort_id": [0], "plan": ["a"], "person": [7], "cutoff": [date(2024, 3, 31)], "label": [1],
    }  # fmt: skip
    (found,) = features_of(dataset, {**tables, "cohort": cohort}, folder)
    return found


def test_columns_called_as_a_value_or_a_condition(tmp_path: Path) -> None:
    found = build(tmp_path, FEATURES)
    assert found["rates_amount_sum"] == 500
    assert found["per_rate"] == 250


@pytest.mark.parametrize(("table", "name"), [("payments", "event_day"), ("instalments", "due_day")])
def test_what_stands_beside_what_was_due_keeps_its_name(table: str, name: str) -> None:
    text = DECLARATION.format(due="date", paid="date") + FEATURES
    text = text.replace('"v_amount * 100"', '"1"')
    spoilt = text.replace(
        f"[tables.{table}.columns]\n", f'[tables.{table}.columns]\n{name} = {{ type = "date" }}\n'
    )
    assert parse_dataset(text, "loans").name == "loans"
    with pytest.raises(DeclarationError, match=f"vigie needs the name '{name}'"):
        parse_dataset(spoilt, "loans")


@pytest.mark.parametrize("name", ["rates_amount_sum", "Rates_Amount_Sum"])
def test_a_ratio_called_as_another_feature_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeclarationError, match=name):
        build(tmp_path, FEATURES.replace('"per_rate"', f'"{name}"'))


def test_a_column_called_n_has_its_categories(tmp_path: Path) -> None:
    text = DECLARATION.format(due="date", paid="date").replace(
        'asked = { type = "date"', 'n = { type = "text" }\nasked = { type = "date"'
    )
    feature = """
[[features]]
kind = "attribute"
name = "kind"
column = "n"
top = 2
label = { en = "kind", fr = "type" }
"""
    cohort: dict[str, list[Any]] = {
        "cohort_id": [0, 1, 2], "plan": ["a"] * 3, "person": [7, 8, 9], "n": ["x", "y", "x"],
        "cutoff": [date(2024, 3, 31)] * 3, "label": [1, 0, 1],
    }  # fmt: skip
    found = features_of(parse_dataset(text + feature, "loans"), {"cohort": cohort}, tmp_path)
    assert [row["kind_x"] for row in found] == [1, 0, 1]
    assert [row["kind_y"] for row in found] == [0, 1, 0]


def test_the_cohort_has_what_is_due_on() -> None:
    text = DECLARATION.format(due="date", paid="date") + FEATURES
    text = text.replace('"v_amount * 100"', '"1"').replace(
        'key = ["plan", "person"]', 'key = ["person"]'
    )
    assert {"plan", "person"} <= set(_attribute_columns(parse_dataset(text, "loans")))
