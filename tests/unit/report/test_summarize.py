from __future__ import annotations

import pytest

from tests.report_sources import (
    AUDIT,
    CHANGES,
    DRIFT,
    FEATURES,
    MODEL,
    RUN,
    SWEEP,
    metrics,
    sources,
    wording,
)
from vigie.report.sources import Sources
from vigie.report.summarize import summarize
from vigie.report.sweep_points import sweep_points


def words(report) -> str:
    return " ".join(notice.text for notice in report.notices)


def test_how_many_are_at_risk_and_how_far_to_trust_it() -> None:
    given = sources()
    report = summarize(given)
    risk, trust = report.risk, report.trust
    assert risk.rows == 300 == risk.high + risk.medium + risk.low
    assert risk.flagged == given.listing.flagged_count
    confusion = given.metrics["holdout"]["confusion"]
    assert trust.caught.value == pytest.approx(
        confusion["true_positive"] / trust.positives, abs=1e-6
    )
    assert trust.missed.value == pytest.approx(1 - trust.caught.value)
    assert trust.missed.low == pytest.approx(1 - trust.caught.high)
    assert trust.missed.high == pytest.approx(1 - trust.caught.low)
    assert trust.false_alarms.value == pytest.approx(
        confusion["false_positive"] / trust.flagged, abs=1e-6
    )
    assert (trust.rows, trust.periods) == (400, "2014")


def test_metrics_stand_beside_what_they_are_compared_with() -> None:
    auc = summarize(sources()).metrics[0]
    assert (auc.name, auc.majority, auc.logistic) == ("roc_auc", 0.5, 0.71)
    assert auc.found.low < auc.found.value < auc.found.high
    assert [row.name for row in summarize(sources()).metrics if row.less_is_better] == ["brier"]


def test_other_aucs_are_named_for_what_they_are() -> None:
    document = metrics()
    document["populations"] = {
        "everybody": {"known_bad": 1234, "metrics": {"roc_auc": {"value": 0.95}}}
    }
    document["published"] = [
        {
            "model_version": "rf-0",
            "published": ["2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05+00:00"],
            "rows": 77,
            "metrics": {"roc_auc": {"value": 0.78, "low": 0.7, "high": 0.86}},
        }
    ]
    found = {one.label: one for one in summarize(sources(metrics=document)).other_aucs}
    assert found["cross-validation"].found.value == pytest.approx(0.85)
    assert "1,234 students" in found["everybody"].note
    assert "2026-01-02" in found["as it was said at the time"].note
    assert found["its own training rows"].found.value == 0.99
    assert "newcomers only" not in found


def test_the_way_from_all_candidates_to_the_judged() -> None:
    lines = [(line.label, line.rows, line.kind) for line in summarize(sources()).cohort]
    assert lines[:4] == [
        ("students in the data", 1000, "all"),
        ("left out: gone already", 300, "out"),
        ("left out: not in the sample of this mode", 50, "out"),
        ("scored", 650, "left"),
    ]
    assert lines[-1][1] == 400


def test_tables_settings_versions_and_warnings_of_the_run() -> None:
    report = summarize(sources())
    (table,) = report.tables
    assert (table.table, table.read, table.unfit) == ("people", 1000, 3)
    assert table.set_aside == {"duplicate_key": 2}
    assert [line.key for line in report.settings if not line.is_default] == ["seed"]
    # What the run had goes before what the model was made with.
    assert dict(report.versions)["numpy"] == "2.2"
    assert dict(report.versions)["git commit"].startswith("c" * 12)
    assert report.warnings == (("extract", "<i>3 rows</i> don't fit"),)
    assert [(step.name, step.status, step.seconds) for step in report.steps] == [
        ("extract", "success", 1.5),
        ("transform", "skipped", None),
    ]


def test_what_changed_is_told_once_and_without_noise() -> None:
    groups = {group.title: group.changes for group in summarize(sources()).changes}
    assert groups == {
        "metrics": (("roc_auc", "0.700", "0.800"),),
        "settings": (("seed", "6", "7"),),
        "data": (("raw", "0" * 12, "1" * 12), ("clean", "2" * 12, "3" * 12)),
        "seconds": (("load", "–", "3.000"),),
    }
    assert summarize(sources(changes=None)).run_before is None
    assert summarize(sources()).run_before == CHANGES["a"]["run_id"]


def test_topics_that_lose_nothing_are_counted_only() -> None:
    report = summarize(sources())
    assert [(one.label, one.share) for one in report.topics] == [("marks", 1), ("clicks", 0.25)]
    assert report.topics_without_loss == 1
    # Those of another model than the figures' would be read as theirs.
    assert summarize(sources(model={**MODEL, "version": "rf-2"})).topics == ()


def test_days_of_a_sweep_in_order_with_those_that_failed() -> None:
    failed, early, late = sweep_points(SWEEP)
    assert (failed.day, failed.error, failed.found.value) == (0, "nothing is known on day 0", None)
    assert (early.day, early.found.value, early.everybody.value) == (30, 0.75, None)
    assert (late.day, late.logistic.value, late.rows) == (90, 0.7, 400)
    assert sweep_points(None) == ()


def test_what_spoils_the_results_comes_first() -> None:
    assert "not as those" in words(summarize(sources()))
    held = {**DRIFT, "compared": "hold-out"}
    assert summarize(sources(drift=held)).notices == ()
    failed = summarize(sources(audit={**AUDIT, "status": "fail"})).notices
    assert failed[0].bad
    assert "can't be right" in failed[0].text
    earlier = sources(audit={**AUDIT, "status": "fail"}, audit_is_current=False)
    assert not any(notice.bad for notice in summarize(earlier).notices)
    other = sources(predictions={**sources().predictions, "model_version": "rf-9"})
    assert "rf-9" in words(summarize(other))
    assert summarize(other).notices[0].bad


@pytest.mark.parametrize(
    "missing",
    ["metrics", "model", "features", "predictions", "drift", "audit", "sweep", "listing", "run"],
)
def test_a_report_of_half_a_run(missing: str) -> None:
    report = summarize(sources(**{missing: None}))
    if missing == "metrics":
        assert report.trust is None
        assert [(row.name, row.found.value) for row in report.metrics] == [("roc_auc", 0.8)]
    if missing in ("listing", "predictions"):
        assert report.risk is None


def test_a_report_of_nothing() -> None:
    report = summarize(Sources(mode="prod", wording=wording("fr")))
    assert (report.metrics, report.cohort, report.tables, report.changes) == ((), (), (), ())
    assert len(report.notices) == 2


def test_words_are_in_the_readers_language() -> None:
    report = summarize(sources("fr"))
    assert report.outcome == "échoue"
    assert report.topics[0].label == "notes"
    assert FEATURES["label"]["name"]["en"] == summarize(sources()).outcome
    assert RUN["summary"]["run_id"] == report.made_by_run
