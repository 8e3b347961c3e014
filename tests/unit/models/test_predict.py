from __future__ import annotations

import csv
import json
import stat

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.models.planted import KEY, PARAMS, planted
from vigie.errors import DataError
from vigie.models.explain import Explanation, explain
from vigie.models.predict import (
    SCORE_COLUMNS,
    predict_table,
    risk_scores,
    score_table,
    write_predictions_csv,
    write_predictions_metadata,
)
from vigie.models.train import train_model
from vigie.spreadsheet import harmless_text, restore_text

FEATURES = [
    {"name": f"f{n}", "kind": "number", "label": {"en": f"feature {n}", "fr": f"variable {n}"}}
    for n in range(planted().X.shape[1])
]
NAMES = [feature["name"] for feature in FEATURES]


@pytest.fixture(scope="module")
def data():
    return planted(unlabelled=30)


@pytest.fixture(scope="module")
def result(data):
    return train_model(
        data.X,
        data.labels,
        data.groups,
        data.periods,
        params=PARAMS,
        n_splits=3,
        seed=7,
        holdout_share=0.2,
        drop_repeaters=True,
        threads=1,
    )


@pytest.fixture(scope="module")
def stored(data, result):
    scores = result.scores
    return score_table(
        data.keys(),
        scores.rows,
        scores.scores,
        scores.origins,
        scores.folds,
        key_columns=KEY,
        group_column="group",
        reasons=scores.reasons,
        feature_names=NAMES,
    )


def predict(keys, matrix, labels, result, stored, **more) -> pa.Table:
    values = {"low": 0.3, "high": 0.7, "threshold": 0.5, "model_version": "rf-1"} | more
    return predict_table(
        keys,
        matrix,
        labels,
        result.model,
        stored,
        key_columns=KEY,
        group_column="group",
        cutoff_days=90,
        features=FEATURES,
        language="en",
        **values,
    )


@pytest.fixture(scope="module")
def table(data, result, stored) -> pa.Table:
    return predict(data.keys(), data.X, data.labels, result, stored)


def by_student(table: pa.Table) -> dict[int, dict]:
    return {row["student"]: row for row in table.to_pylist()}


def test_columns_and_order(table):
    assert tuple(table.column_names) == (*KEY, *SCORE_COLUMNS)
    rows = [(-row["risk_score"], row["module"], row["student"]) for row in table.to_pylist()]
    assert rows == sorted(rows)
    assert set(table["cutoff_days"].to_pylist()) == {90}
    assert set(table["model_version"].to_pylist()) == {"rf-1"}


def test_each_row_has_the_reasons_of_the_model_that_scored_it(data, result, stored, table):
    rows = by_student(table)
    scores = result.scores
    for place, row in enumerate(scores.rows):
        column = scores.reasons.features[place, 0]
        text = rows[row]["reason_1"]
        assert text.startswith(f"feature {column}: ")
        assert text.endswith(f"({scores.reasons.amounts[place, 0]:+.2f})")
    unlabelled = np.flatnonzero(data.labels < 0)
    own = explain(result.model, data.X[unlabelled])
    for place, row in enumerate(unlabelled):
        assert rows[row]["reason_1"].startswith(f"feature {own.features[place, 0]}: ")
    # A model of an earlier version stored scores without reasons.
    earlier = stored.select([name for name in stored.column_names if name != "base"])
    again = by_student(predict(data.keys(), data.X, data.labels, result, earlier))
    assert again[scores.rows[0]]["reason_1"] == ""
    assert again[unlabelled[0]]["reason_1"]


def test_labelled_rows_keep_the_score_of_a_model_that_did_not_see_them(data, result, table):
    rows = by_student(table)
    final = risk_scores(result.model, data.X)
    scores = result.scores
    for row, score, origin in zip(scores.rows, scores.scores, scores.origins, strict=True):
        assert rows[row]["risk_score"] == round(score, 6)
        assert rows[row]["score_source"] == origin
        assert rows[row]["out_of_fold"]
    differ = [rows[row]["risk_score"] != round(final[row], 6) for row in scores.rows]
    assert np.mean(differ) > 0.5


def test_rows_without_an_outcome_get_the_final_models_score(data, result, table):
    rows = by_student(table)
    final = risk_scores(result.model, data.X)
    unlabelled = np.flatnonzero(data.labels == -1)
    assert len(unlabelled) == 30
    for row in unlabelled:
        assert rows[row]["risk_score"] == round(final[row], 6)
        assert rows[row]["score_source"] == "final"
        assert not rows[row]["out_of_fold"]


def test_higher_is_worse(data, table):
    rows = by_student(table)
    scores = np.array([rows[row]["risk_score"] for row in range(400)])
    known = data.labels >= 0
    assert scores[known & (data.labels == 1)].mean() > scores[known & (data.labels == 0)].mean()
    assert np.corrcoef(scores, data.X[:, 0])[0, 1] > 0.6


def test_rows_are_known_by_key_not_by_place(data, result, stored, table):
    shuffled = np.random.default_rng(0).permutation(400)
    again = predict(
        data.keys().take(pa.array(shuffled)),
        data.X[shuffled],
        data.labels[shuffled],
        result,
        stored,
    )
    assert again.equals(table)


def test_rows_that_came_later(data, result, stored):
    later = planted(6, seed=9)
    known_person = data.groups[result.scores.rows[0]]
    keys = pa.table(
        {
            "module": ["M9"] * 6,
            "student": pa.array(range(1000, 1006), pa.int32()),
            "group": [known_person, "new1", "new2", "new3", "new4", "new5"],
        }
    )
    labels = np.array([1, 1, -1, 0, -1, -1])
    rows = by_student(predict(keys, later.X, labels, result, stored))
    assert {row["score_source"] for row in rows.values()} == {"final"}
    # An outcome of that person went into the model; nobody else's did.
    told = [rows[student]["out_of_fold"] for student in range(1000, 1006)]
    assert told == [False, True, False, True, False, False]


def test_a_row_learned_from_stays_out_of_fold_when_its_label_is_gone(data, result, stored, table):
    unknown = np.full(400, -1)
    again = predict(data.keys(), data.X, unknown, result, stored)
    assert again.equals(table)


def test_levels_and_predictions_include_their_bounds(data, result):
    keys = data.keys().slice(0, 5)
    scores = np.array([0.29, 0.3, 0.5, 0.69, 0.7])
    stored = score_table(
        keys,
        np.arange(5),
        scores,
        np.array(["fold"] * 5),
        np.zeros(5, dtype=np.int64),
        key_columns=KEY,
        group_column="group",
        reasons=Explanation.empty(5),
        feature_names=NAMES,
    )
    rows = by_student(predict(keys, data.X[:5], data.labels[:5], result, stored))
    assert [rows[i]["risk_level"] for i in range(5)] == ["low", *["medium"] * 3, "high"]
    assert [rows[i]["prediction"] == "at_risk" for i in range(5)] == [0, 0, 1, 1, 1]


def test_a_mean_of_shares_that_is_the_bound_reaches_it(data):
    class Model:
        classes_ = np.array([0, 1])

        def predict_proba(self, rows):
            risk = sum([0.1, 0.1, 0.1]) - 2e-16 + np.zeros(len(rows))
            assert (risk < 0.3).all()
            return np.column_stack([1 - risk, risk])

    assert (risk_scores(Model(), data.X) == 0.3).all()


def test_two_rows_with_one_key(data, result, stored):
    keys = pa.concat_tables([data.keys().slice(0, 1)] * 2)
    with pytest.raises(DataError, match="1 rows have the key") as caught:
        predict(keys, data.X[:2], data.labels[:2], result, stored)
    assert caught.value.where == "module, student"


def test_lengths_that_differ(data, result, stored):
    with pytest.raises(DataError, match="differ in length"):
        predict(data.keys(), data.X[:-1], data.labels, result, stored)


def test_the_csv_is_plain(table, tmp_path):
    path = tmp_path / "reports" / "predictions_dev.csv"
    write_predictions_csv(table, path)
    content = path.read_bytes()
    assert b"\r" not in content
    assert not content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(content.decode("utf-8").splitlines()))
    assert len(rows) == 400
    assert all(len(row["risk_score"].split(".")[1]) == 6 for row in rows)
    assert {row["out_of_fold"] for row in rows} == {"true", "false"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_predictions_csv(table, path)
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["predictions_dev.csv"]


def test_spreadsheets_run_nothing(tmp_path):
    keys = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'=1", "-12", 'é,"x"', "'t"]
    table = pa.table({"id": keys, "number": list(range(-5, 6)), "risk_score": [0.5] * 11})
    path = tmp_path / "p.csv"
    write_predictions_csv(table, path)
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened))[1:]
    cells = [row[0] for row in rows]
    assert cells[:8] == [f"'{key}" for key in keys[:8]]
    assert cells[8:] == keys[8:]
    assert [restore_text(cell) for cell in cells] == keys
    assert [row[1] for row in rows] == [str(number) for number in range(-5, 6)]


@given(st.text(alphabet="'=+-@\t\n1,a"))
def test_what_was_made_harmless_can_be_restored(text):
    safe = harmless_text(text)
    assert restore_text(safe) == text
    assert safe[:1] not in tuple("=+-@\t\n") or safe == text.strip("\n") or not safe


def test_metadata_of_the_predictions(table, tmp_path):
    path = tmp_path / "predictions_dev_metadata.json"
    write_predictions_metadata(
        path,
        table,
        mode="dev",
        dataset="oulad",
        generated=True,
        key_columns=KEY,
        model_metadata={"version": "rf-1", "sha256": "ab"},
        low=0.3,
        high=0.7,
        threshold=0.5,
        cutoff_days=90,
    )
    found = json.loads(path.read_text("utf-8"))
    assert found["generated"] is True
    assert found["model_version"] == "rf-1"
    assert found["model_sha256"] == "ab"
    assert sum(found["counts"]["risk_level"].values()) == 400
    assert found["counts"]["score_source"]["final"] == 30
    assert set(found["columns"]) == set(table.column_names)
