"""What was handed in, when, and its mark."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from vigie.dataset.sample_people import (
    DISTINCTION,
    FAIL,
    PASS,
    RESULTS,
    WITHDRAWN,
    Floats,
    Ints,
    Presentation,
    leading,
    quantile_draw,
)

# Share of the variance of "hands in or not" that is the person's and not the occasion's.
PERSISTENCE = 0.75
# When the first to the sixth essay of a presentation are due.
TYPICAL_DUE_DAYS = (20, 51, 91, 126, 163, 202)


def generate_submissions(one: Presentation, facts: Mapping[str, Any]) -> list[Any]:
    """Return the rows of studentAssessment.csv as columns."""
    known = facts["assessments"]
    parts: list[tuple[Ints, Ints, Floats, Floats]] = []
    order = {"TMA": 0, "CMA": 0}
    for number, work in enumerate(one.assessments):
        if work["type"] == "Exam":
            rows = _exam_takers(one, known)
            days = one.length + one.rng.integers(-12, 6, len(rows)).astype(float)
        else:
            order[work["type"]] += 1
            rows = _submitters(one, work, order[work["type"]], known)
            days = _days(one, work, rows, known)
        marks = _marks(one, work["type"], rows, known)
        parts.append((np.full(len(rows), one.first_assessment + number), rows, days, marks))
        if work["type"] == "Exam":
            break  # of two exams at the same time, marks are published for one
    work_ids, rows, days, marks = (np.concatenate(column) for column in zip(*parts, strict=True))
    banked = _banked(one, work_ids, rows, known)
    days[banked] = -1
    missing = one.rng.random(len(rows)) < known["score_missing"]["n"] / 174_000
    rounded = np.round(np.clip(marks, 0, 100))
    return [
        work_ids,
        one.ids[rows],
        days.astype(np.int64),
        banked.astype(np.int64),
        [None if lost else int(mark) for mark, lost in zip(rounded, missing, strict=True)],
    ]


def _submitters(
    one: Presentation, work: Mapping[str, Any], order: int, known: Mapping[str, Any]
) -> Ints:
    """Return who hands this one in: nobody who has given up, of the others rather the engaged."""
    due = float(work["date"])
    rng = one.rng
    latent = np.sqrt(PERSISTENCE) * one.engagement + np.sqrt(1 - PERSISTENCE) * rng.standard_normal(
        one.size
    )
    hands_in = np.zeros(one.size, dtype=bool)
    for code, outcome in enumerate(RESULTS):
        mine = one.result == code
        rates = known["submission_rate_TMA_by_order"]
        if work["type"] == "TMA":
            rate = rates[str(min(order, 6))].get(outcome, 0.0)
        elif code in (PASS, DISTINCTION):
            rate = known["submission_rate_TMA_CMA_by_result_all_students"]["CMA"][outcome]
        else:
            # Those who drop out do so for tests as they do for essays: by the time of the year.
            by_order = [rates[str(number)][outcome] for number in range(1, 7)]
            rate = float(np.interp(due, TYPICAL_DUE_DAYS, by_order))
        there = mine & (one.quit_day >= due - 6)
        if not mine.any() or not there.any():
            continue
        hands_in[leading(latent, there, rate * mine.sum(), rng)] = True
    return np.flatnonzero(hands_in)


def _days(
    one: Presentation, work: Mapping[str, Any], rows: Ints, known: Mapping[str, Any]
) -> Floats:
    """Return the day of hand-in: late with the result's rate, else by the usual distribution."""
    rng = one.rng
    quantiles = known["date_submitted_minus_due"][work["type"]]["quantiles"]
    rate = np.array([known["share_late_by_result"][outcome] for outcome in RESULTS])
    overall = known["date_submitted_minus_due"][work["type"]]["share_late(>0)"]
    # Those who put things off do so again and again.
    tilt = rng.standard_normal(len(rows)) - 0.6 * one.engagement[rows]
    rank: Floats = np.array([NormalDist().cdf(value) for value in tilt / np.sqrt(1.36)])
    # Who gives up soon has no time to be late, so that those with time are late more often.
    rate[[WITHDRAWN, FAIL]] *= 1.45
    own_rate = np.clip(rate[one.result[rows]] * overall / 0.27, 0.01, 0.9)
    late = rank > 1 - own_rate
    uniform = np.where(
        late,
        1 - overall * rng.random(len(rows)),
        (1 - overall) * rng.random(len(rows)),
    )
    delay = np.round(quantile_draw(quantiles, uniform))
    delay = np.where(late, np.maximum(delay, 1), np.minimum(delay, 0))
    day = float(work["date"]) + np.minimum(delay, 60)
    return np.minimum(np.maximum(day, -8), np.maximum(one.quit_day[rows] + 1, float(work["date"])))


def _marks(one: Presentation, kind: str, rows: Ints, known: Mapping[str, Any]) -> Floats:
    """Return marks whose spread within and between students is the real one's."""
    moments = known["score_mean_sd_by_type_result"][kind]
    mean = np.array([moments[outcome][0] for outcome in RESULTS])
    spread = np.array([moments[outcome][1] or 5.0 for outcome in RESULTS])
    between = known["between_student_TMA_mean_sd"]
    within = known["within_student_TMA_sd_mean"]
    person = between / np.hypot(between, within)
    noise = one.rng.standard_normal(len(rows))
    result = one.result[rows]
    standard = person * one.ability[rows] + np.sqrt(1 - person**2) * noise
    # Marks lean to the left: a few are far below the others.
    skewed = standard - 0.18 * (standard**2 - 1)
    marks: Floats = mean[result] + spread[result] * skewed
    return marks


def _exam_takers(one: Presentation, known: Mapping[str, Any]) -> Ints:
    """Return whose exam mark is published: in two modules only, and not all who failed."""
    count = known["presentations_with_exam_scores"].get(f"{one.module}/{one.presentation}", 0)
    wanted = round(count * one.share)
    stayed = np.flatnonzero((one.result == PASS) | (one.result == DISTINCTION))
    failed = np.flatnonzero((one.result == FAIL) & (one.quit_day >= one.length - 20))
    certain = one.rng.permutation(stayed)[:wanted]
    more = one.rng.permutation(failed)[: max(0, wanted - len(certain))]
    return np.sort(np.concatenate([certain, more]))


def _banked(
    one: Presentation, work_ids: Ints, rows: Ints, known: Mapping[str, Any]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which marks were carried over: of those who try again, some carry all over."""
    again = one.demographics["num_of_prev_attempts"].astype(int) > 0
    again &= one.result != WITHDRAWN
    chance = known["is_banked_share"] / 0.11
    carries = again & (one.rng.random(one.size) < chance)
    exam = {
        one.first_assessment + n for n, work in enumerate(one.assessments) if work["type"] == "Exam"
    }
    return np.asarray(carries[rows] & ~np.isin(work_ids, list(exam)))
