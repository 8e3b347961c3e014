"""SQL in declarations is tried before anything runs, on tables of the declared shape."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vigie.data.expressions import expression_faults
from vigie.dataset.declaration import declared_names, parse_dataset, read_declaration


@pytest.mark.parametrize("name", declared_names())
def test_the_shipped_declarations_are_understood(name: str) -> None:
    assert expression_faults(parse_dataset(*read_declaration(name, Path()))) == []


@pytest.mark.parametrize(
    ("dataset", "old", "new", "place", "said"),
    [
        ("oulad", "date_unregistration <= ", "date_unregistraton <= ", "cohort.exclude.0.when",
         "did you mean 'date_unregistration'"),
        ("oulad", "date_registration > cutoff", "date_registration > > cutoff",
         "cohort.exclude.1.when", "correct the expression"),
        ("oulad", "LIKE '%B' THEN 1 ELSE", "LIK '%B' THEN 1 ELSE", "features.1.expression",
         "syntax error"),
        ("oulad", "event_day IS NULL", "event_dy IS NULL", "features", "did you mean 'event_day'"),
        ("shop", "m.month_end - 180", "m.monthend - 180", "cohort.sql", "monthend"),
        ("shop", 'key = ["customer_id", "month_end"]', 'key = ["customer_id", "month"]',
         "cohort.key", "did you mean 'month_end'"),
        ("shop", 'group = "customer_id"', 'group = "customer"', "cohort.group",
         "did you mean 'customer_id'"),
        ("shop", 'cutoff = "month_end"', 'cutoff = "month_en"', "cohort.cutoff",
         "did you mean 'month_end'"),
        ("shop", "bad = \"none\" }", "bad = \"none\", when = \"amont > 3\" }",
         "cohort.label.window.when", "did you mean 'amount'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(dataset: str, old: str, new: str, place: str, said: str) -> None:
    text, origin = read_declaration(dataset, Path())
    assert old in text
    faults = expression_faults(parse_dataset(text.replace(old, new), origin))
    assert faults
    for fault in faults:
        assert ".".join(map(str, fault.place)).startswith(place)
        assert re.search(re.escape(said), f"{fault.what} {fault.fix}")
