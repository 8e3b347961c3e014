"""Scores for everyone: who is at risk, how much, and which model says so.

A row whose outcome the final model learned from is never scored by it: its published score is the
one that the hold-out's or a fold's model gave it. Which rows those are is told by their *key* in
the stored scores, not by their position, so that a model trained earlier can score today's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import DataError, ModelError
from vigie.i18n import _
from vigie.models.explain import REASONS, Explanation, explain, topic_codes
from vigie.models.reasons import reason_texts
from vigie.pipeline.artifacts import atomic_write, write_json
from vigie.spreadsheet import harmless_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    FloatArray = npt.NDArray[np.float64]

AT_RISK = 1
LEVELS = ("low", "medium", "high")
SCORE_COLUMNS = (
    "risk_score",
    "risk_level",
    "prediction",
    "out_of_fold",
    "score_source",
    "model_version",
    "cutoff_days",
    *(f"reason_{place + 1}" for place in range(REASONS)),
)
SCORE_DECIMALS = 6
# A mean over trees is exact to about 15 digits; beyond the ninth, .3 may be .29999999999999993,
# and a row would fall below a bound that it is shown to reach.
NOISE_DECIMALS = 9


def risk_scores(model: Any, X: npt.NDArray[np.float32]) -> FloatArray:  # noqa: N803
    """Return the probability (0 to 1) of the bad outcome for each row of `X`.

    The column is looked up in ``model.classes_``: its place depends on how the labels sort.

    Raises
    ------
    ModelError
        When the model does not know the class 1, at risk.
    """
    columns = np.flatnonzero(np.asarray(model.classes_) == AT_RISK)
    if len(columns) != 1:
        raise ModelError(
            _("The model does not know the outcome 1 (at risk); it knows {classes}.").format(
                classes=", ".join(str(value) for value in model.classes_)
            ),
            where="classes_",
            fix=_("Train it again: {command}").format(command="vigie run --steps train"),
        )
    if not len(X):
        return np.empty(0)
    probabilities: FloatArray = model.predict_proba(X)[:, columns[0]]
    return np.round(probabilities, NOISE_DECIMALS)


def score_table(
    keys: pa.Table,
    rows: npt.NDArray[np.int64],
    scores: FloatArray,
    origins: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    *,
    key_columns: Sequence[str],
    group_column: str,
    reasons: Explanation,
    feature_names: Sequence[str],
    more_columns: Sequence[str] = (),
) -> pa.Table:
    """Return the out-of-fold scores with the keys of their rows, as they are stored with a model.

    Parameters
    ----------
    keys
        The key table of all rows.
    rows
        The row numbers, in `keys`, of all rows that the final model was fitted on.
    scores, origins, folds, reasons
        As in ``TrainingScores``.
    feature_names
        By the columns of the matrix: a later one may have them elsewhere.
    more_columns
        Columns of `keys` that are kept too, to report by.
    """
    import pyarrow as pa

    table = keys.select([*key_columns, group_column, *more_columns]).take(pa.array(rows))
    table = (
        table.append_column("score", pa.array(scores, pa.float64()))
        .append_column("origin", pa.array(origins.tolist(), pa.string()))
        .append_column("fold", pa.array(folds, pa.int32()))
        .append_column("base", pa.array(reasons.base, pa.float64()))
    )
    names = [*feature_names, None]
    for place in range(REASONS):
        told = [names[column] for column in reasons.features[:, place]]
        table = table.append_column(f"reason_{place + 1}", pa.array(told, pa.string()))
        amounts = pa.array(reasons.amounts[:, place], pa.float64())
        table = table.append_column(f"amount_{place + 1}", amounts)
    return table


def _stored_reasons(stored: pa.Table, feature_names: Sequence[str]) -> Explanation:
    """Return the reasons that were stored with the scores; none with those of earlier versions."""
    found = Explanation.empty(stored.num_rows)
    if "base" not in stored.column_names:
        return found
    place_of = {name: place for place, name in enumerate(feature_names)}
    found.base[:] = stored["base"].to_numpy()
    for place in range(REASONS):
        told = stored[f"reason_{place + 1}"].to_pylist()
        found.features[:, place] = [place_of.get(name, -1) for name in told]
        found.amounts[:, place] = stored[f"amount_{place + 1}"].to_numpy()
    return found


def predict_table(
    keys: pa.Table,
    X: npt.NDArray[np.float32],  # noqa: N803
    labels: npt.NDArray[Any],
    model: Any,
    stored_scores: pa.Table,
    *,
    key_columns: Sequence[str],
    group_column: str,
    low: float,
    high: float,
    threshold: float,
    model_version: str,
    cutoff_days: int | None,
    features: Sequence[Mapping[str, Any]],
    language: str,
    threads: int = 1,
) -> pa.Table:
    """Score every row; the riskiest first, then by key.

    A row in `stored_scores` keeps the score given there, since the final model was fitted on its
    outcome. Any other row was not, labelled or not, and is scored by the final model. Levels and
    predictions go by the unrounded score, as the metrics do; `risk_score` shows 6 decimals.

    `out_of_fold` tells which rows the model may be judged on: the outcome is known, and no
    outcome of that person went into the model behind the score. True for rows in `stored_scores`
    (with ``drop_repeaters = false`` their *row* was unseen, a hold-out person's earlier row may
    have been learned from); for rows scored by the final model true only if the outcome is known
    by now and the person has no row in `stored_scores`.

    Parameters
    ----------
    keys
        The key columns and the person of each row.
    X
        float32, rows x features, NaN where not known.
    labels
        1, 0 or -1 per row.
    stored_scores
        As ``score_table`` made it when the model was trained.
    low, high
        Bounds: below `low` is low, from `high` on is high.
    threshold
        From this score on a row is predicted at risk.
    features
        The features' descriptions, in the order of the columns of `X`.
    language
        Of the reasons: ``en`` or ``fr``.
    threads
        How many may be used; the result does not depend on it.

    Raises
    ------
    DataError
        When the tables differ in length, or two rows have the same key.
    """
    import pyarrow as pa

    _check_lengths(keys.num_rows, len(X), len(labels))
    scores, place = honest_scores(keys, X, model, stored_scores, key_columns)
    source, unseen = _origins(keys, labels, stored_scores, place, group_column)
    names = [feature["name"] for feature in features]
    reasons = Explanation.empty(len(scores))
    reasons.put(place >= 0, _stored_reasons(stored_scores, names).take(place[place >= 0]))
    reasons.put(place < 0, explain(model, X[place < 0], topic_codes(features), threads=threads))
    texts = reason_texts(reasons, X, features, language)
    level = np.asarray(LEVELS, dtype=object)[(scores >= low).astype(int) + (scores >= high)]
    prediction = np.where(scores >= threshold, "at_risk", "not_at_risk")
    table = keys.select(list(key_columns))
    for name, values in (
        ("risk_score", pa.array(np.round(scores, SCORE_DECIMALS), pa.float64())),
        ("risk_level", pa.array(level.tolist(), pa.string())),
        ("prediction", pa.array(prediction.tolist(), pa.string())),
        ("out_of_fold", pa.array(unseen, pa.bool_())),
        ("score_source", pa.array(source.tolist(), pa.string())),
        ("model_version", pa.array([model_version] * len(scores), pa.string())),
        ("cutoff_days", pa.array([cutoff_days] * len(scores), pa.int32())),
        *((f"reason_{n}", pa.array(told, pa.string())) for n, told in enumerate(texts, start=1)),
    ):
        table = table.append_column(name, values)
    return table.sort_by(
        [("risk_score", "descending"), *((name, "ascending") for name in key_columns)]
    )


def honest_scores(
    keys: pa.Table,
    X: npt.NDArray[np.float32],  # noqa: N803
    model: Any,
    stored_scores: pa.Table,
    key_columns: Sequence[str],
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return each row's score, and where in `stored_scores` it is, -1 where `model` gave it.

    Raises
    ------
    DataError
        When two rows have the same key.
    """
    place = stored_places(keys, stored_scores, key_columns)
    stored = place >= 0
    scores = np.empty(len(place))
    scores[stored] = stored_scores["score"].to_numpy()[place[stored]]
    scores[~stored] = risk_scores(model, X[~stored])
    return scores, place


def _origins(
    keys: pa.Table,
    labels: npt.NDArray[Any],
    stored_scores: pa.Table,
    place: npt.NDArray[np.int64],
    group_column: str,
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
    """Return where each row's score comes from, and whether it is out-of-fold."""
    stored = place >= 0
    source = np.full(len(place), "final", dtype=object)
    source[stored] = np.asarray(stored_scores["origin"].to_pylist(), dtype=object)[place[stored]]
    known_persons = set(stored_scores[group_column].to_pylist())
    met = np.fromiter((g in known_persons for g in keys[group_column].to_pylist()), dtype=bool)
    unseen = stored | ((np.asarray(labels) >= 0) & ~met)
    return source, unseen


def write_predictions_csv(table: pa.Table, path: Path) -> None:
    """Write the predictions as UTF-8 CSV with LF, atomically; scores with 6 decimals.

    Text that a spreadsheet would run as a formula is written behind an apostrophe, which
    ``restore_text`` takes off again; numbers, and text that is a plain number, stay as they are.
    The table itself, and so the copy in PostgreSQL, is not changed.
    """
    import pyarrow as pa

    columns: list[list[str]] = []
    for name in table.column_names:
        column = table[name]
        if pa.types.is_boolean(column.type):
            cells = ["" if v is None else str(v).lower() for v in column.to_pylist()]
        elif pa.types.is_floating(column.type):
            cells = ["" if v is None else f"{v:.{SCORE_DECIMALS}f}" for v in column.to_pylist()]
        elif pa.types.is_integer(column.type):
            cells = ["" if v is None else str(v) for v in column.to_pylist()]
        else:
            texts = ["" if v is None else str(v) for v in column.to_pylist()]
            cells = [_quoted(harmless_text(text)) for text in texts]
        columns.append(cells)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        out.write(",".join(_quoted(harmless_text(name)) for name in table.column_names) + "\n")
        out.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _quoted(cell: str) -> str:
    """Return a CSV cell; unlike the ``csv`` module's, one with a lone carriage return is quoted."""
    if any(mark in cell for mark in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def write_predictions_metadata(
    path: Path,
    table: pa.Table,
    *,
    mode: str,
    dataset: str,
    generated: bool,
    key_columns: Sequence[str],
    model_metadata: Mapping[str, Any],
    low: float,
    high: float,
    threshold: float,
    cutoff_days: int | None,
) -> None:
    """Write what a reader of the predictions must know; nothing in it depends on the clock."""
    write_json(
        path,
        {
            "dataset": dataset,
            "mode": mode,
            "generated": generated,
            "cutoff_days": cutoff_days,
            "model_version": model_metadata.get("version"),
            "model_sha256": model_metadata.get("sha256"),
            "rows": table.num_rows,
            "key": list(key_columns),
            "bounds": {"low": low, "high": high, "threshold": threshold},
            "counts": {
                "risk_level": _counts(table, "risk_level", LEVELS),
                "prediction": _counts(table, "prediction", ("at_risk", "not_at_risk")),
                "score_source": _counts(table, "score_source", ("holdout", "fold", "final")),
                "out_of_fold": int(sum(table["out_of_fold"].to_pylist())),
            },
            "columns": _column_meanings(key_columns),
        },
    )


def _column_meanings(key_columns: Sequence[str]) -> dict[str, str]:
    key = "Key. In the CSV, text that starts like a formula has an apostrophe before it."
    return {
        **dict.fromkeys(key_columns, key),
        "risk_score": "Probability (0 to 1) of the bad outcome, as known at the cut-off.",
        "risk_level": "low below bounds.low, high from bounds.high on, medium between.",
        "prediction": "at_risk from bounds.threshold on, else not_at_risk.",
        "out_of_fold": (
            "true: the outcome is known and the model behind this score did not learn from it, so "
            "the score may be compared with the outcome. false: there is no outcome yet, or the "
            "model learned from another row of the same person."
        ),
        "score_source": (
            "holdout: the evaluated model, fitted on other rows; fold: a cross-validation model "
            "fitted without this person; final: the saved model, which never learned from this row."
        ),
        "model_version": "Version of the saved model, from its training data and settings.",
        "cutoff_days": "Nothing known after this day is in the score.",
        **{
            f"reason_{place + 1}": (
                "What speaks most for this score, its value, and what it adds to the score (or "
                "takes from it) in the model that gave it."
            )
            for place in range(REASONS)
        },
    }


def _counts(table: pa.Table, column: str, values: Sequence[str]) -> dict[str, int]:
    found = table[column].to_pylist()
    return {value: found.count(value) for value in values}


def stored_places(
    keys: pa.Table, stored: pa.Table, key_columns: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return where each row of `keys` is in `stored`, -1 where it is not."""
    known = {key: place for place, key in enumerate(_key_tuples(stored, key_columns))}
    rows = _key_tuples(keys, key_columns)
    for table, tuples in ((stored, known), (keys, set(rows))):
        if len(tuples) != table.num_rows:
            raise DataError(
                _("{count} rows have the key of another row.").format(
                    count=table.num_rows - len(tuples)
                ),
                where=", ".join(key_columns),
                fix=_("Declare a key that is unique in the cohort."),
            )
    return np.fromiter((known.get(key, -1) for key in rows), dtype=np.int64, count=len(rows))


def _key_tuples(table: pa.Table, key_columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in key_columns), strict=True))


def _check_lengths(keys: int, rows: int, labels: int) -> None:
    if not keys == rows == labels:
        raise DataError(
            _("Keys ({keys}), features ({rows}) and labels ({labels}) differ in length.").format(
                keys=keys, rows=rows, labels=labels
            ),
            where="data/processed",
            fix=_("Make the features again: {command}").format(
                command="vigie run --steps features --force features"
            ),
        )
