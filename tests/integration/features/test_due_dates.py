"""What was due and didn't come, with dates and timestamps in the place of day numbers."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vigie.dataset.declaration import parse_dataset
from vigie.dataset.spec import Dataset
from vigie.engine import open_engine, read_parquet
from vigie.features.build import build_features

DECLARATION = """
name = "loans"
[tables.instalments]
file = "instalments"
primary_key = ["instalment_id"]
[tables.instalments.columns]
instalment_id = {{ type = "integer" }}
plan = {{ type = "text" }}
due = {{ type = "{due}" }}
[tables.payments]
file = "payments"
clock = "paid"
foreign_keys = [{{ columns = ["instalment_id"], references = "instalments" }}]
[tables.payments.columns]
instalment_id = {{ type = "integer" }}
person = {{ type = "integer" }}
paid = {{ type = "{paid}" }}
[tables.people]
file = "people"
primary_key = ["plan", "person"]
[tables.people.columns]
plan = {{ type = "text" }}
person = {{ type = "integer" }}
asked = {{ type = "date", feature = false }}
bad = {{ type = "integer" }}
[cohort]
table = "people"
key = ["plan", "person"]
group = "person"
cutoff = "asked"
[cohort.label]
column = "bad"
positive = [1]
"""


def moment(kind: str, month: int, day: int, hour: int = 0) -> date | datetime:
    return date(2024, month, day) if kind == "date" else datetime(2024, month, day, hour)  # noqa: DTZ001


def features_of(
    dataset: Dataset, tables: dict[str, dict[str, list[Any]]], folder: Path
) -> list[dict[str, Any]]:
    """Return the features of each row of the table ``cohort``, from these tables."""
    for name, values in tables.items():
        pq.write_table(pa.table(values), folder / f"{name}.parquet")
    with open_engine(threads=1, memory_limit="200MB") as engine:
        read = {name: read_parquet(engine, folder / f"{name}.parquet", name) for name in tables}
        expression, _features = build_features(read, read.pop("cohort"), dataset)
        return list(expression.to_pyarrow().to_pylist())


@pytest.mark.parametrize("due", ["date", "timestamp"])
@pytest.mark.parametrize("paid", ["date", "timestamp"])
def test_late_and_missed_are_counted_up_to_the_cut_off(due: str, paid: str, tmp_path: Path) -> None:
    dataset = parse_dataset(DECLARATION.format(due=due, paid=paid), "loans")
    rows: dict[str, dict[str, list[Any]]] = {
        "instalments": {
            "instalment_id": [1, 2, 3, 4],
            "plan": ["a"] * 4,
            "due": [
                moment(due, 1, 10, 18),
                moment(due, 2, 10),
                moment(due, 3, 10),
                moment(due, 6, 1),
            ],
        },
        # The first on its day, the second five days late, the third after the cut-off.
        "payments": {
            "instalment_id": [1, 2, 3],
            "person": [7, 7, 7],
            "paid": [moment(paid, 1, 10, 9), moment(paid, 2, 15, 9), moment(paid, 4, 2, 9)],
        },
        "people": {"plan": ["a"], "person": [7], "asked": [date(2024, 3, 31)], "bad": [1]},
    }
    cohort = {
        "cohort_id": [0], "plan": ["a"], "person": [7], "cutoff": [date(2024, 3, 31)], "label": [1],
    }  # fmt: skip
    (found,) = features_of(dataset, {**rows, "cohort": cohort}, tmp_path)
    assert found["instalments_due_due_count"] == 3
    assert found["instalments_due_missed_count"] == 1
    assert found["instalments_due_late_count"] == 1
    assert found["instalments_due_days_early_min"] == -5
    assert found["instalments_due_last_missed_last"] == 1
