"""Who is enrolled where, with what result and what hidden disposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESULTS = ("Pass", "Withdrawn", "Fail", "Distinction")
PASS, WITHDRAWN, FAIL, DISTINCTION = range(4)
FIRST_SITE = 526_721
FIRST_ASSESSMENT = 1_752
# Correlation of ability with engagement.
KINSHIP = 0.5
# Days between the last visit that is seen and the day on which somebody gives up: who comes once
# a week is last seen some days before.
GRACE = 9


@dataclass(slots=True)
class Presentation:
    """One presentation with its people; arrays have one entry for each enrolment.

    ``engagement`` and ``ability`` are standard normal within each result: the disposition behind
    visits, submissions and marks. ``quit_day`` is the day after which nothing more happens.
    """

    module: str
    presentation: str
    length: int
    share: float
    rng: np.random.Generator
    facts: Mapping[str, Any]
    assessments: list[dict[str, Any]]
    first_assessment: int
    sites: list[tuple[str, int | None, int | None]]
    first_site: int
    result: Ints
    ids: Ints
    demographics: dict[str, npt.NDArray[Any]]
    registered: Floats
    unregistered: Floats
    quit_day: Floats
    engagement: Floats
    ability: Floats

    @property
    def size(self) -> int:
        """How many enrolments."""
        return len(self.result)

    @property
    def click_rows(self) -> int:
        """How many rows of clicks it should have."""
        rows: int = round(self.facts["click_rows"] * self.share)
        return rows

    def _names(self, count: int) -> tuple[list[str], list[str]]:
        return [self.module] * count, [self.presentation] * count

    def assessment_columns(self) -> list[Any]:
        """Return the rows of assessments.csv as columns."""
        count = len(self.assessments)
        return [
            *self._names(count),
            np.arange(self.first_assessment, self.first_assessment + count),
            [one["type"] for one in self.assessments],
            [None if one["date"] is None else int(one["date"]) for one in self.assessments],
            [f"{one['weight']:g}" for one in self.assessments],
        ]

    def site_columns(self) -> list[Any]:
        """Return the rows of vle.csv as columns."""
        count = len(self.sites)
        return [
            np.arange(self.first_site, self.first_site + count),
            *self._names(count),
            *([site[part] for site in self.sites] for part in range(3)),
        ]

    def info_columns(self) -> list[Any]:
        """Return the rows of studentInfo.csv as columns."""
        order = (
            "gender",
            "region",
            "highest_education",
            "imd_band",
            "age_band",
            "num_of_prev_attempts",
            "studied_credits",
            "disability",
        )
        return [
            *self._names(self.size),
            self.ids,
            *(self.demographics[name].tolist() for name in order),
            [RESULTS[code] for code in self.result],
        ]

    def registration_columns(self) -> list[Any]:
        """Return the rows of studentRegistration.csv as columns."""
        return [
            *self._names(self.size),
            self.ids,
            _days(self.registered),
            _days(self.unregistered),
        ]


def _days(values: Floats) -> list[int | None]:
    return [None if np.isnan(value) else int(value) for value in values]


def plan_presentations(facts: Mapping[str, Any], enrolments: int, seed: int) -> list[Presentation]:
    """Return all presentations with their people; identities span presentations."""
    sizes = [one["students"] for one in facts["presentations"].values()]
    counts = apportion(np.array(sizes, dtype=float), enrolments, least=8)
    seeds = np.random.SeedSequence(seed).spawn(len(sizes) + 1)
    made: list[Presentation] = []
    site, assessment = FIRST_SITE, FIRST_ASSESSMENT
    for (name, one), count, stream in zip(
        facts["presentations"].items(), counts, seeds, strict=False
    ):
        presentation = _people(name, one, int(count), np.random.default_rng(stream), facts)
        presentation.first_site, presentation.first_assessment = site, assessment
        site += len(presentation.sites)
        assessment += len(presentation.assessments)
        made.append(presentation)
    _give_identities(made, np.random.default_rng(seeds[-1]), facts)
    _leave_gaps(made, np.random.default_rng(seeds[-1].spawn(1)[0]), facts)
    return made


def apportion(weights: Floats, total: int, *, least: int = 0) -> Ints:
    """Return whole numbers that add up to `total`, as near to the weights as can be.

    The method of largest remainders (Hamilton).
    """
    exact = weights / weights.sum() * total
    whole: Ints = np.maximum(np.floor(exact).astype(np.int64), least)
    while whole.sum() > total:
        whole[np.argmax(whole - exact)] -= 1
    for place in np.argsort(-(exact - whole), kind="stable")[: total - int(whole.sum())]:
        whole[place] += 1
    return whole


def leading(
    latent: Floats, among: npt.NDArray[np.bool_], count: float, rng: np.random.Generator
) -> Ints:
    """Return the `count` (rounded at random) rows of `among` with the highest latent value."""
    rows = np.flatnonzero(among)
    whole = min(len(rows), int(count + rng.random()))
    chosen: Ints = rows[np.argsort(-latent[rows], kind="stable")[:whole]]
    return chosen


def quantile_draw(quantiles: Mapping[str, float], uniform: Floats) -> Floats:
    """Return values whose distribution has these quantiles (``{"p25": -2.0}``), interpolated."""
    points = sorted((float(name[1:]) / 100, value) for name, value in quantiles.items())
    return np.interp(uniform, [p for p, _v in points], [v for _p, v in points])


def _people(
    name: str,
    one: Mapping[str, Any],
    count: int,
    rng: np.random.Generator,
    facts: Mapping[str, Any],
) -> Presentation:
    module, presentation = name.split("/")
    shares = np.array([one["results"].get(result, 0) for result in RESULTS], dtype=float)
    result = np.repeat(np.arange(4), apportion(shares, count))
    rng.shuffle(result)
    engagement = rng.standard_normal(count)
    ability = KINSHIP * engagement + np.sqrt(1 - KINSHIP**2) * rng.standard_normal(count)
    registered, unregistered = _registration(result, rng, facts)
    return Presentation(
        module=module,
        presentation=presentation,
        length=one["length"],
        share=count / one["students"],
        rng=rng,
        facts=one,
        assessments=one["assessments"],
        first_assessment=0,
        sites=_sites(one, rng),
        first_site=0,
        result=result,
        ids=np.zeros(count, dtype=np.int64),
        demographics=_demographics(result, rng, facts),
        registered=registered,
        unregistered=unregistered,
        quit_day=_quit_days(result, unregistered, engagement, one["length"], rng, facts),
        engagement=engagement,
        ability=ability,
    )


def _demographics(
    result: Ints, rng: np.random.Generator, facts: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    """Draw each column from its distribution among those with the same result."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, values in facts["demographics"].items():
        if name == "studied_credits":
            columns[name] = _credits(result, rng, values)
            continue
        labels = np.array([None if label == "MISSING" else label for label in values], dtype=object)
        column = np.empty(len(result), dtype=object)
        for code, outcome in enumerate(RESULTS):
            weights = np.array([one["n"] * one[outcome] for one in values.values()])
            rows = np.flatnonzero(result == code)
            column[rows] = labels[rng.choice(len(labels), len(rows), p=weights / weights.sum())]
        columns[name] = column
    return columns


def _credits(result: Ints, rng: np.random.Generator, values: Mapping[str, Any]) -> npt.NDArray[Any]:
    known = np.array(sorted(int(value) for value in values["top_values"]))
    column = np.empty(len(result), dtype=object)
    for code, outcome in enumerate(RESULTS):
        rows = np.flatnonzero(result == code)
        drawn = quantile_draw(values["quantiles_by_result"][outcome], rng.random(len(rows)))
        column[rows] = known[np.abs(known[None, :] - drawn[:, None]).argmin(axis=1)]
    return column


def _registration(
    result: Ints, rng: np.random.Generator, facts: Mapping[str, Any]
) -> tuple[Floats, Floats]:
    known = facts["registration"]
    registered = np.empty(len(result))
    for code, outcome in enumerate(RESULTS):
        rows = result == code
        registered[rows] = quantile_draw(known["by_result"][outcome], rng.random(rows.sum()))
    registered = np.round(registered)
    unregistered = np.full(len(result), np.nan)
    gone = result == WITHDRAWN
    shares = known["share_of_withdrawn_unregistered_on_or_before_day"]
    early = known["date_unregistration_quantiles_withdrawn"]
    points = [(early[name], int(name[1:]) / 100) for name in ("p0", "p1", "p5", "p10", "p25")]
    points += [(float(day), share) for day, share in shares.items()] + [(early["p100"], 1.0)]
    days, levels = zip(*sorted(points), strict=True)
    # Nobody of 32,593 leaves later than a few weeks after the end, but for one.
    drawn = np.interp(rng.random(gone.sum()) * 0.9999, levels, days)
    unregistered[gone] = np.round(np.minimum(drawn, 275))
    late = gone & (registered >= unregistered)
    registered[late] = unregistered[late] - rng.integers(1, 40, late.sum())
    return registered, unregistered


def _quit_days(
    result: Ints,
    unregistered: Floats,
    engagement: Floats,
    length: int,
    rng: np.random.Generator,
    facts: Mapping[str, Any],
) -> Floats:
    """Return the last day on which anything happens; those who fail often stop long before."""
    clicks = facts["clicks"]
    days = np.full(len(result), float(length))
    failed = result == FAIL
    # The less engaged give up earlier, but not strictly so.
    lean = 0.5 * engagement[failed] + np.sqrt(0.75) * rng.standard_normal(failed.sum())
    order = lean.argsort().argsort()
    drawn = quantile_draw(
        clicks["per_student_last_quantiles_by_result"]["Fail"],
        (order + 0.5) / max(1, failed.sum()),
    )
    # The last visit of somebody who never gave up is scattered over the last weeks as well.
    days[failed] = np.where(drawn > length - 45, length, drawn + GRACE)
    gone = result == WITHDRAWN
    offset = quantile_draw(
        clicks["last_active_day_minus_unregistration_for_withdrawn"],
        0.03 + 0.94 * rng.random(gone.sum()),
    )
    days[gone] = unregistered[gone] + offset + GRACE / 2
    return days


def _sites(
    one: Mapping[str, Any], rng: np.random.Generator
) -> list[tuple[str, int | None, int | None]]:
    kinds = [kind for kind, count in one["sites_by_activity"].items() for _n in range(count)]
    planned = set(rng.permutation(len(kinds))[: one["sites_with_week"]].tolist())
    sites: list[tuple[str, int | None, int | None]] = []
    for place, kind in enumerate(kinds):
        week = int(rng.integers(0, 30))
        last = min(29, week + int(rng.random() < 0.05))
        sites.append((kind, week, last) if place in planned else (kind, None, None))
    return sites


def _give_identities(
    presentations: Sequence[Presentation], rng: np.random.Generator, facts: Mapping[str, Any]
) -> None:
    """Give each enrolment a student; some students have several, in different presentations."""
    total = sum(one.size for one in presentations)
    home = np.repeat(np.arange(len(presentations)), [one.size for one in presentations])
    several = {int(n): c for n, c in facts["keys"]["enrolments per student"].items() if int(n) > 1}
    scale = total / facts["enrolments"]
    person = np.full(total, -1, dtype=np.int64)
    queue = rng.permutation(total)
    place = number = 0
    for count in sorted(several, reverse=True):
        for _student in range(round(several[count] * scale)):
            chosen: list[int] = []
            while len(chosen) < count and place < total:
                candidate = int(queue[place])
                place += 1
                if home[candidate] not in {home[one] for one in chosen}:
                    chosen.append(candidate)
            person[chosen] = number
            number += 1
    single = np.flatnonzero(person < 0)
    person[single] = number + np.arange(len(single))
    persons = int(person.max()) + 1
    # The real release's range, as long as a third of it suffices.
    last = max(2_716_796, 3_733 + 3 * persons)
    ids = rng.choice(np.arange(3_733, last), size=persons, replace=False)
    start = 0
    for one in presentations:
        one.ids = ids[person[start : start + one.size]]
        start += one.size
    _same_person_same_data(presentations, person)


def _same_person_same_data(presentations: Sequence[Presentation], person: Ints) -> None:
    for name in ("gender", "region", "imd_band", "disability"):
        column = np.concatenate([one.demographics[name] for one in presentations])
        _people, first = np.unique(person, return_index=True)
        column = column[first][np.searchsorted(_people, person)]
        start = 0
        for one in presentations:
            one.demographics[name] = column[start : start + one.size]
            start += one.size


def _leave_gaps(
    presentations: Sequence[Presentation], rng: np.random.Generator, facts: Mapping[str, Any]
) -> None:
    """Take away the days that the release lacks too, and add those that contradict the result."""
    known = facts["registration"]
    result = np.concatenate([one.result for one in presentations])
    scale = len(result) / facts["enrolments"]
    registered = np.concatenate([one.registered for one in presentations])
    unregistered = np.concatenate([one.unregistered for one in presentations])
    for outcome, count in known["missing_date_registration_by_result"].items():
        rows = np.flatnonzero(result == RESULTS.index(outcome))
        registered[rng.choice(rows, round(count * scale), replace=False)] = np.nan
    gone = np.flatnonzero(result == WITHDRAWN)
    count = round(known["withdrawn_without_unregistration_date"] * scale)
    unregistered[rng.choice(gone, count, replace=False)] = np.nan
    odd = known["unregistration_date_present_but_not_Withdrawn"]["Fail"]
    rows = rng.choice(np.flatnonzero(result == FAIL), round(odd * scale), replace=False)
    unregistered[rows] = rng.integers(200, 240, len(rows))
    start = 0
    for one in presentations:
        one.registered = registered[start : start + one.size]
        one.unregistered = unregistered[start : start + one.size]
        start += one.size
