"""Many cut-offs for each driver, dates in another table than results, as in Ergast's data."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from vigie.data.extract import extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.data.transform import transform_tables
from vigie.dataset.declaration import parse_dataset
from vigie.dataset.spec import Dataset
from vigie.engine import open_engine, read_parquet
from vigie.features.build import build_features
from vigie.features.vocabulary import Vocabulary

DECLARATION = """
name = "races"

[tables.races]
file = "races"
primary_key = ["raceId"]
clock = "date"
[tables.races.columns]
raceId = { type = "integer" }
date = { type = "date" }
name = { type = "text" }

[tables.status]
file = "status"
primary_key = ["statusId"]
[tables.status.columns]
statusId = { type = "integer" }
status = { type = "text" }
name = { type = "text" }

[tables.results]
file = "results"
clock = "races.date"
missing = ["\\\\N"]
foreign_keys = [
    { columns = ["raceId"], references = "races" },
    { columns = ["statusId"], references = "status" },
]
[tables.results.columns]
raceId = { type = "integer" }
driverId = { type = "integer" }
points = { type = "integer" }
statusId = { type = "integer" }

[cohort]
sql = '''
SELECT DISTINCT r.driverId, t.asked_on FROM results AS r, (SELECT CAST(unnest(generate_series(
    DATE '2001-01-01', DATE '2002-12-31', INTERVAL 60 DAY)) AS DATE) AS asked_on) AS t
'''
key = ["driverId", "asked_on"]
group = "driverId"
cutoff = "asked_on"

[cohort.label.window]
table = "results"
on = ["driverId"]
days = 30
bad = "some"
when = "status <> 'Finished'"
lookups = [{ table = "status", on = ["statusId"], columns = ["status"] }]
known_if_any = true
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("races")
    raw = folder / "raw"
    raw.mkdir()
    rng = random.Random(5)
    days = [date(2000, 1, 9) + timedelta(days=14 * n) for n in range(76)]
    races = [f"{n},{day},GP" for n, day in enumerate(days)]
    results = [
        f"{n},{driver},{rng.choice([0, 3, 10])},{rng.choice([1, 1, 2])}"
        for n in range(len(days))
        for driver in range(12)
        # Of these drivers, one stopped after the first year.
        if rng.random() < 0.9 and not (driver == 0 and n > 25)
    ]
    tables = {
        "races": ("raceId,date,name", races),
        "results": ("raceId,driverId,points,statusId", results),
        "status": ("statusId,status,name", ["1,Finished,a", "2,Engine,b"]),
    }
    for name, (header, rows) in tables.items():
        (raw / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    dataset = declared()
    (folder / "extracted").mkdir()
    (folder / "clean").mkdir()
    extract_tables(
        find_raw_files(raw, dataset),
        dataset,
        folder / "extracted",
        project=folder,
        max_rejected=0.0,
        threads=2,
        memory_limit="500MB",
    )
    transform_tables(
        folder / "extracted",
        folder / "clean",
        dataset,
        cutoff=None,
        sample_size=None,
        threads=2,
        memory_limit="500MB",
    )
    return folder / "clean"


def declared() -> Dataset:
    return parse_dataset(DECLARATION, "races")


def test_who_starts_in_no_race_has_no_outcome(clean: Path) -> None:
    cohort = pd.read_parquet(clean / "cohort.parquet")
    results = pd.read_parquet(clean / "results.parquet").merge(
        pd.read_parquet(clean / "races.parquet"), on="raceId"
    )
    results["date"] = pd.to_datetime(results["date"])
    for row in cohort.itertuples():
        cutoff = pd.Timestamp(row.asked_on)
        after = results[
            (results.driverId == row.driverId)
            & (results.date > cutoff)
            & (results.date <= cutoff + pd.Timedelta(days=30))
        ]
        known = len(after) and cutoff + pd.Timedelta(days=30) <= results.date.max()
        wanted = float((after.statusId != 1).any()) if known else None
        assert (None if pd.isna(row.label) else row.label) == wanted
    assert cohort[cohort.driverId == 0]["label"].isna().all()
    assert cohort["label"].notna().sum() > 50


def test_windows_follow_the_rhythm_and_are_kept_with_the_model(clean: Path) -> None:
    dataset = declared()
    with open_engine(threads=2, memory_limit="500MB") as engine:
        tables = {
            name: read_parquet(engine, clean / f"{name}.parquet", name) for name in dataset.tables
        }
        cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
        learnt = Vocabulary()
        _table, features = build_features(tables, cohort, dataset, learnt)
        again = Vocabulary({**learnt.used, "results.days_between": ("3",)})
        _table, others = build_features(tables, cohort, dataset, again)
    assert learnt.used["results.days_between"] == ("14",)
    windows = {one.window_days for one in features if one.window_days}
    assert {365, 1095} < windows
    assert 7 not in windows
    assert 7 in {one.window_days for one in others}
