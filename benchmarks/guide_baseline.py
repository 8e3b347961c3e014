"""The published approach of the guide, written anew in pandas, to measure what it costs.

Read all CSVs, merge and pivot them in memory, fit a Random Forest with cross-validation, score its
own training rows, write one table with ``to_sql``: the steps of the implementation that the guide
belongs to, without its mistakes in the labels. Nothing of vigie is used.

    python -m benchmarks.guide_baseline RAW_FOLDER DATABASE_URL
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas as pd

KEY = ["code_module", "code_presentation", "id_student"]
CUTOFF = 180


def read(raw: Path, name: str) -> pd.DataFrame:
    file = next(raw.glob(f"{name}.csv*"))
    return pd.read_csv(file, na_values=["?"])


def features(raw: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return mean score of submitted work, mean clicks by activity and demographics."""
    info, registration = read(raw, "studentInfo"), read(raw, "studentRegistration")
    assessments, submitted = read(raw, "assessments"), read(raw, "studentAssessment")
    pages, clicks = read(raw, "vle"), read(raw, "studentVle")
    clicks = clicks[clicks["date"] <= CUTOFF].merge(pages[["id_site", "activity_type"]], "left")
    by_activity = clicks.pivot_table(
        index=KEY, columns="activity_type", values="sum_click", aggfunc="mean", fill_value=0
    ).reset_index()
    submitted = submitted[submitted["date_submitted"] <= CUTOFF]
    scores = (
        submitted.merge(assessments, on="id_assessment").groupby(KEY)["score"].mean().reset_index()
    )
    table = info.merge(registration, on=KEY, how="left")
    gone = table["date_unregistration"] <= CUTOFF
    table = table[~gone].merge(scores, on=KEY, how="left").merge(by_activity, on=KEY, how="left")
    label = table["final_result"].isin(["Fail", "Withdrawn"]).astype(int)
    left_out = ["final_result", "date_unregistration", "id_student"]
    return pd.get_dummies(table.drop(columns=left_out)).fillna(0), label


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("url")
    options = parser.parse_args()
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_score
    from sqlalchemy import create_engine

    started = time.perf_counter()
    X, y = features(options.raw)  # noqa: N806
    made = time.perf_counter()
    forest = RandomForestClassifier(n_estimators=200, random_state=42, n_jobs=-1)
    folds = cross_val_score(forest, X, y, cv=5, scoring="roc_auc")
    own = roc_auc_score(y, forest.fit(X, y).predict_proba(X)[:, 1])
    fitted = time.perf_counter()
    url = options.url.replace("postgresql://", "postgresql+psycopg://")
    with create_engine(url).begin() as connection:
        X.assign(label=y).to_sql("guide_features", connection, if_exists="replace", index=False)
    ended = time.perf_counter()
    print(
        json.dumps(
            {
                "rows": len(X),
                "seconds": round(ended - started, 1),
                "read_and_features": round(made - started, 1),
                "fits": round(fitted - made, 1),
                "to_sql": round(ended - fitted, 1),
                "auc_folds": round(float(folds.mean()), 3),
                "auc_on_training_rows": round(float(own), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
