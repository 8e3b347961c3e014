"""When rows became known: by a parent's day, from the start, or version by version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vigie.data.extract import extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.data.transform import transform_tables
from vigie.dataset.declaration import parse_dataset
from vigie.dataset.spec import Dataset
from vigie.engine import open_engine, read_parquet
from vigie.features.build import build_features

FILES = {
    "people": "person,pet,bad\n1,cat,0\n2,dog,1\n",
    "orders": "order,person,day\n10,1,2024-01-05\n11,1,2024-03-01\n12,2,2024-01-31\n",
    "lines": "line,order,price\n1,10,5\n2,10,7\n3,11,100\n4,12,1\n5,,9\n",
    "children": "child,person,age\n1,1,4\n2,1,6\n",
    "status": "person,since,level\n1,2024-01-01,low\n1,2024-01-20,high\n1,2024-02-20,top\n"
    "2,2024-05-01,low\n",
    "prices": "item,since,price\n1,2024-01-01,3\n1,2024-04-01,99\n",
    "visits": "visit,person,item,at\n1,1,1,2024-01-03 23:59:59\n2,1,1,2024-01-31 18:00:00\n"
    "3,1,1,2024-02-01 00:00:00\n",
}
TABLES = """
name = "clocks"
[tables.people]
file = "people"
primary_key = ["person"]
columns = { person = { type = "integer" }, pet = { type = "text" }, bad = { type = "integer" } }
[tables.orders]
file = "orders"
primary_key = ["order"]
clock = "day"
foreign_keys = [{ columns = ["person"], references = "people" }]
columns = { order = { type = "integer" }, person = { type = "integer" }, day = { type = "date" } }
[tables.lines]
file = "lines"
primary_key = ["line"]
clock = "orders.day"
foreign_keys = [{ columns = ["order"], references = "orders" }]
columns = { line = { type = "integer" }, order = { type = "integer" }, price = { type = "number" } }
[tables.children]
file = "children"
primary_key = ["child"]
known_at_start = true
foreign_keys = [{ columns = ["person"], references = "people" }]
[tables.children.columns]
child = { type = "integer" }
person = { type = "integer" }
age = { type = "integer" }
[tables.status]
file = "status"
primary_key = ["person", "since"]
clock = "since"
columns = { person = { type = "integer" }, since = { type = "date" }, level = { type = "text" } }
[tables.prices]
file = "prices"
primary_key = ["item", "since"]
clock = "since"
columns = { item = { type = "integer" }, since = { type = "date" }, price = { type = "number" } }
[tables.visits]
file = "visits"
primary_key = ["visit"]
clock = "at"
[tables.visits.columns]
visit = { type = "integer" }
person = { type = "integer" }
item = { type = "integer" }
at = { type = "timestamp" }
[cohort]
table = "people"
key = ["person"]
cutoff = "DATE '2024-01-31'"
label = { column = "bad", positive = [1] }
"""


def features(folder: Path, more: str, head: str = TABLES) -> list[dict[str, Any]]:
    raw = folder / "raw"
    raw.mkdir()
    for name, text in FILES.items():
        (raw / f"{name}.csv").write_text(text, "utf-8")
    dataset: Dataset = parse_dataset(head + more, "dataset.toml")
    for name in ("extracted", "clean"):
        (folder / name).mkdir()
    common: dict[str, Any] = {"threads": 2, "memory_limit": "500MB"}
    extract_tables(
        find_raw_files(raw, dataset),
        dataset,
        folder / "extracted",
        project=folder,
        max_rejected=0.0,
        **common,
    )
    transform_tables(
        folder / "extracted", folder / "clean", dataset, cutoff=None, sample_size=None, **common
    )
    with open_engine(**common) as engine:
        tables = {
            name: read_parquet(engine, folder / "clean" / f"{name}.parquet", name)
            for name in dataset.tables
        }
        cohort = read_parquet(engine, folder / "clean" / "cohort.parquet", "cohort")
        expression, _features = build_features(tables, cohort, dataset)
        found: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    return found


def group(text: str) -> str:
    return f'[[features]]\nlabel = {{ en = "x", fr = "x" }}\n{text}\n'


def test_rows_are_known_with_the_row_of_another_table(tmp_path: Path) -> None:
    first, second = features(
        tmp_path,
        group(
            'kind = "events"\nname = "lines"\ntable = "lines"\non = ["person"]\n'
            'lookups = [{ table = "orders", on = ["order"], columns = ["person", "day"] }]\n'
            'measures = [{ name = "price", label = { en = "p", fr = "p" }, column = "price", '
            'aggregates = ["sum", "count", "days_since_last"] }]'
        ),
    )
    # The line of an order in March, and the one of no order at all, count for nobody.
    assert (first["lines_price_sum"], first["lines_price_count"]) == (12, 2)
    assert first["lines_price_days_since_last"] == 26
    assert (second["lines_price_sum"], second["lines_price_days_since_last"]) == (1, 0)


def test_what_is_known_from_the_start_has_no_cut_off(tmp_path: Path) -> None:
    first, second = features(
        tmp_path,
        group(
            'kind = "events"\nname = "children"\ntable = "children"\non = ["person"]\n'
            'measures = [{ name = "age", label = { en = "a", fr = "a" }, column = "age", '
            'aggregates = ["count", "mean", "max"] }]'
        ),
    )
    assert (first["children_age_count"], first["children_age_mean"]) == (2, 5)
    assert (second["children_age_count"], second["children_age_mean"]) == (0, None)


def test_a_lookup_of_the_cohort_shows_its_last_version_known(tmp_path: Path) -> None:
    head = TABLES + 'lookups = [{ table = "status", on = ["person"], columns = ["level"] }]\n'
    first, second = features(
        tmp_path,
        group('kind = "attribute"\nname = "level"\ncolumn = "level"\norder = ["low","high","top"]'),
        head,
    )
    assert first["level"] == 1
    assert second["level"] is None


def test_a_lookup_of_the_cohort_is_hidden_until_its_row_is_known(tmp_path: Path) -> None:
    head = TABLES.replace('primary_key = ["person", "since"]', 'primary_key = ["person"]')
    head += 'lookups = [{ table = "status", on = ["person"], columns = ["level"] }]\n'
    first, second = features(
        tmp_path,
        group('kind = "attribute"\nname = "level"\ncolumn = "level"\norder = ["low","high","top"]'),
        head,
    )
    assert first["level"] == 0
    assert second["level"] is None


def test_a_lookup_of_events_shows_its_last_version_known(tmp_path: Path) -> None:
    first, _second = features(
        tmp_path,
        group(
            'kind = "events"\nname = "visits"\ntable = "visits"\non = ["person"]\n'
            'lookups = [{ table = "prices", on = ["item"], columns = ["price"] }]\n'
            'measures = [{ name = "price", label = { en = "p", fr = "p" }, column = "price", '
            'aggregates = ["sum", "max", "count"] }]'
        ),
    )
    # Both visits up to the end of the cut-off's day, at the price of January.
    assert (first["visits_price_sum"], first["visits_price_max"]) == (6, 3)
    assert first["visits_price_count"] == 2


def test_default_features_of_all_of_them(tmp_path: Path) -> None:
    first, second = features(tmp_path, "")
    assert first["children_rows_count"] == 2
    assert second["children_rows_count"] == 0
    assert first["lines_price_sum"] == 12
    assert "children_age_last" not in first


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('clock = "orders.day"', 'clock = "orders.dya"', "did you mean 'day'"),
        ('clock = "orders.day"', 'clock = "people.pet"', "exactly one foreign key"),
        ('clock = "orders.day"', 'clock = "orders.person"', "must be a day, a date"),
        ("known_at_start = true", 'known_at_start = true\nclock = "age"', "known at the start"),
    ],
)
def test_clocks_that_cant_be(old: str, new: str, said: str) -> None:
    from vigie.errors import DeclarationError

    assert old in TABLES
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(TABLES.replace(old, new), "dataset.toml")
    assert said in str(caught.value)
    assert "dataset.toml line " in str(caught.value)
