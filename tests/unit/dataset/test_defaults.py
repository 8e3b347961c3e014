"""What is made of a declaration that names no features."""

from __future__ import annotations

import re
from pathlib import Path

from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.spec import (
    AttributeFeature,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    RankFeatures,
)


def without_features(name: str, *, sensitive: bool = True) -> Dataset:
    text, _origin = read_declaration(name, Path())
    text = text.split("\n[[features]]")[0]
    if sensitive:
        text = re.sub(r", fed = \[.*?\]", "", text)
    return parse_dataset(text, name)


def test_the_outcome_and_what_is_sensitive_are_no_features() -> None:
    names = {group.name for group in without_features("oulad").features}
    assert "gender" not in names
    assert "final_result" not in names
    assert "id_student" not in names
    # It orders the rows in time, and is new in each period.
    assert "code_presentation" not in names
    assert {"code_module", "highest_education", "num_of_prev_attempts"} <= names
    assert "gender" in {group.name for group in without_features("oulad", sensitive=False).features}


def test_a_day_after_the_cut_off_is_not_known() -> None:
    groups = {group.name: group for group in without_features("oulad").features}
    left = groups["days_since_date_unregistration"]
    assert isinstance(left, AttributeFeature)
    assert left.expression is not None
    assert left.expression.startswith('CASE WHEN "date_unregistration" <= cutoff')


def test_tables_with_clocks_and_what_was_due_are_found() -> None:
    groups = {group.name: group for group in without_features("oulad").features}
    clicks = groups["student_vle"]
    assert isinstance(clicks, EventFeatures)
    assert clicks.on == ("code_module", "code_presentation", "id_student")
    assert clicks.lookups[0].table == "vle"
    by = [measure.by for measure in clicks.measures if measure.by is not None]
    assert [one.column for one in by] == ["activity_type"]
    work = groups["assessments_due"]
    assert isinstance(work, ExpectedFeatures)
    assert (work.due, work.events, work.due_clock) == ("assessments", "student_assessment", "date")
    assert work.match == {"id_assessment": "id_assessment", "id_student": "id_student"}
    handed_in = groups["student_assessment"]
    assert isinstance(handed_in, EventFeatures)
    assert handed_in.lookups[0].columns[:2] == ("code_module", "code_presentation")


def test_rows_are_ranked_among_those_of_the_same_course() -> None:
    ranks = without_features("oulad").features[-1]
    assert isinstance(ranks, RankFeatures)
    assert ranks.within == ("code_module", "code_presentation")
    assert set(ranks.of) == {"student_vle_*", "student_assessment_*", "assessments_due_*"}
    # A customer's key says nothing of who is beside him.
    assert not any(isinstance(one, RankFeatures) for one in without_features("shop").features)
