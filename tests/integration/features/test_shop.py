"""Many cut-offs for each customer, a label that happens after them, and features by default."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vigie.data.extract import extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.data.transform import transform_tables
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.sample_shop import generate_shop
from vigie.dataset.spec import Dataset
from vigie.engine import open_engine, read_parquet
from vigie.errors import DeclarationError
from vigie.features.build import build_features
from vigie.features.vocabulary import Vocabulary


@dataclass
class Shop:
    dataset: Dataset
    raw: Path
    clean: Path

    @property
    def cohort(self) -> pd.DataFrame:
        return pd.read_parquet(self.clean / "cohort.parquet")

    def orders(self) -> pd.DataFrame:
        return pd.read_csv(self.raw / "orders.csv", parse_dates=["ordered_at"])

    def features(self, clean: Path, vocabulary: Vocabulary) -> pd.DataFrame:
        with open_engine(threads=2, memory_limit="500MB") as engine:
            tables = {
                name: read_parquet(engine, self.clean_of(clean, name), name)
                for name in self.dataset.tables
            }
            cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
            expression, _features = build_features(tables, cohort, self.dataset, vocabulary)
            found: pd.DataFrame = expression.to_pandas().set_index("cohort_id")
        return found

    def clean_of(self, clean: Path, name: str) -> Path:
        changed = clean / f"{name}.parquet"
        return changed if changed.exists() else self.clean / f"{name}.parquet"


def declared(text: str | None = None) -> Dataset:
    if text is None:
        text, _origin = read_declaration("shop", Path())
    return parse_dataset(text, "shop")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    generate_shop(folder / "raw", customers=250)
    dataset = declared()
    (folder / "extracted").mkdir()
    extract_tables(
        find_raw_files(folder / "raw", dataset),
        dataset,
        folder / "extracted",
        project=folder,
        max_rejected=0.0,
        threads=2,
        memory_limit="500MB",
    )
    made = Shop(dataset, folder / "raw", folder / "clean")
    made.clean.mkdir()
    transform(made)
    return made


def transform(shop: Shop) -> None:
    transform_tables(
        shop.clean.parent / "extracted",
        shop.clean,
        shop.dataset,
        cutoff=None,
        sample_size=None,
        threads=2,
        memory_limit="500MB",
    )


def test_the_generator_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate_shop(tmp_path / name, customers=50, seed=7)
    for file in ("customers.csv", "orders.csv", "returns.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_label_is_what_happens_after_the_cut_off(shop: Shop) -> None:
    orders = shop.orders()
    days = orders.assign(day=orders["ordered_at"].dt.date)
    latest = days["day"].max()
    cohort = shop.cohort
    assert len(cohort) > 500
    assert cohort["label"].isna().any()
    by_customer = {key: set(group["day"]) for key, group in days.groupby("customer_id")}
    for row in cohort.itertuples():
        end: date = row.month_end
        window = {end + timedelta(days=n) for n in range(1, 91)}
        if end + timedelta(days=90) > latest:
            assert pd.isna(row.label)
        else:
            assert row.label == int(not by_customer[row.customer_id] & window)
    assert set(cohort["period"]) == {str(one) for one in cohort["month_end"]}
    assert (cohort["group_key"] == cohort["customer_id"].astype(str)).all()


def test_default_features_by_hand(shop: Shop) -> None:
    found = shop.features(shop.clean, Vocabulary())
    orders = shop.orders().assign(day=lambda frame: frame["ordered_at"].dt.date)
    for row in shop.cohort.sample(25, random_state=1).itertuples():
        known = orders[
            (orders["customer_id"] == row.customer_id) & (orders["day"] <= row.month_end)
        ]
        made: dict[str, Any] = found.loc[row.cohort_id].to_dict()
        ages = [(row.month_end - day).days for day in known["day"]]
        assert made["orders_rows_count"] == len(known)
        assert made["orders_rows_count_28d"] == sum(age < 28 for age in ages)
        assert made["orders_rows_days_since_last"] == min(ages)
        assert made["orders_rows_days_since_first"] == max(ages)
        assert made["orders_rows_active_days"] == len(set(ages))
        assert made["orders_amount_sum"] == pytest.approx(known["amount"].sum(), rel=1e-5)
        assert made["orders_amount_std"] == pytest.approx(
            known["amount"].std(ddof=0), rel=1e-3, abs=1e-2
        )
        assert made["orders_amount_max"] == pytest.approx(known["amount"].max(), rel=1e-5)
        last = known[known["day"] == known["day"].max()]["amount"].mean()
        assert made["orders_amount_last"] == pytest.approx(last, rel=1e-5)
        assert made["orders_category_distinct"] == known["category"].nunique()
        by_category = known.groupby("category")["amount"].sum()
        for name, value in by_category.items():
            column = f"orders_by_category_sum_{name}"
            assert made[column] == pytest.approx(value, rel=1e-5)
    assert any(name.startswith("returns_") for name in found.columns)


BY_TWO_COLUMNS = """
[[features]]
kind = "events"
name = "orders"
table = "orders"
on = ["customer_id"]
lookups = [{ table = "customers", on = ["customer_id"], columns = ["channel"] }]
label = { en = "orders", fr = "commandes" }

[[features.measures]]
name = "spent"
column = "amount"
label = { en = "spent", fr = "dépensé" }
aggregates = ["sum"]
by = { column = "category", top = 2 }

[[features.measures]]
name = "placed"
label = { en = "orders", fr = "commandes" }
aggregates = ["sum"]
by = { column = "channel", values = ["nowhere", "search"] }

[[features.measures]]
name = "large"
label = { en = "large orders", fr = "grandes commandes" }
when = "amount > 50"
aggregates = ["sum"]
by = { column = "category", top = 2 }
"""


def test_categories_of_two_columns_in_the_order_of_the_measures(shop: Shop) -> None:
    text, _origin = read_declaration("shop", Path())
    other = Shop(declared(text + BY_TWO_COLUMNS), shop.raw, shop.clean)
    vocabulary = Vocabulary()
    found = other.features(other.clean, vocabulary)
    orders = other.orders().assign(day=lambda frame: frame["ordered_at"].dt.date)
    channels = pd.read_csv(shop.raw / "customers.csv").set_index("customer_id")["channel"]
    most = vocabulary.used["orders.spent.category"]
    assert len(most) == 2
    assert list(found.columns) == [
        *[f"orders_spent_sum_{one}" for one in most],
        "orders_placed_sum_nowhere",
        "orders_placed_sum_search",
        *[f"orders_large_sum_{one}" for one in most],
    ]
    assert (found["orders_placed_sum_nowhere"] == 0).all()
    assert found["orders_placed_sum_search"].any()
    for row in other.cohort.sample(25, random_state=1).itertuples():
        known = orders[
            (orders["customer_id"] == row.customer_id) & (orders["day"] <= row.month_end)
        ]
        made = found.loc[row.cohort_id]
        comes = channels[row.customer_id] == "search"
        assert made["orders_placed_sum_search"] == (len(known) if comes else 0)
        for one in most:
            of_it = known[known["category"] == one]["amount"]
            assert made[f"orders_spent_sum_{one}"] == pytest.approx(of_it.sum(), rel=1e-5)
            assert made[f"orders_large_sum_{one}"] == (of_it > 50).sum()


def test_nothing_after_the_cut_off_reaches_a_feature(shop: Shop, tmp_path: Path) -> None:
    """The same rows, from all tables and from tables that end at the cut-off."""
    vocabulary = Vocabulary()
    full = shop.features(shop.clean, vocabulary)
    cohort = shop.cohort
    for end in sorted(cohort["month_end"].unique())[3::6]:
        cut = tmp_path / str(end)
        cut.mkdir()
        rows = cohort[cohort["month_end"] == end]
        rows.to_parquet(cut / "cohort.parquet")
        for name, clock in (("orders", "ordered_at"), ("returns", "returned_on")):
            table = pd.read_parquet(shop.clean / f"{name}.parquet")
            known = pd.to_datetime(table[clock]).dt.date <= end
            assert not known.all()
            table[known].to_parquet(cut / f"{name}.parquet")
        again = shop.features(cut, Vocabulary(given=vocabulary.used))
        again.index = again.index.astype("int64")
        expected = full.loc[again.index]
        pd.testing.assert_frame_equal(
            again, expected, check_exact=False, rtol=1e-6, check_index_type=False
        )


def test_values_that_a_model_knows_go_before_what_the_rows_say(shop: Shop) -> None:
    given = {"orders.by_category.category": ("toys", "cars")}
    found = shop.features(shop.clean, Vocabulary(given=given))
    columns = [name for name in found.columns if name.startswith("orders_by_category_sum")]
    assert columns == ["orders_by_category_sum_toys", "orders_by_category_sum_cars"]
    assert (found["orders_by_category_sum_cars"] == 0).all()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('cutoff = "month_end"', 'cutoff = "month_ende"', "month_ende"),
        ('key = ["customer_id", "month_end"]', 'key = ["customer_id"]', "customer_id ="),
        ("FROM orders AS o", "FROM order AS o", "order"),
    ],
)
def test_what_is_wrong_in_the_cohort_is_named(
    shop: Shop, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text, _origin = read_declaration("shop", Path())
    assert old in text
    broken = Shop(declared(text.replace(old, new, 1)), shop.raw, tmp_path / "clean")
    broken.clean.mkdir()
    (tmp_path / "extracted").symlink_to(shop.clean.parent / "extracted")
    with pytest.raises(DeclarationError) as caught:
        transform(broken)
    assert said in str(caught.value)
