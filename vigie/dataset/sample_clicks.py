"""Who visits what on which day, and how often they click."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vigie.dataset.sample_people import RESULTS, Floats, Ints, Presentation, leading

WEEKS = np.arange(-4, 39)
# Of the variance of "comes this week or not" and of how much, the person's own and lasting share.
PERSISTENCE = 0.62
VOLUME_PERSISTENCE = 0.75
PERSON_SPREAD = 0.45
WEEK_SPREAD = 0.55
CLICK_SPREAD = 1.3
# Shares of rows that repeat the one before: the same page and day, and the same clicks as well.
REPEAT_SHARE, EXACT_SHARE = 0.075, 0.3
ROWS_PER_CHUNK = 400_000


def generate_clicks(one: Presentation, facts: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the rows of studentVle.csv as columns, some hundred thousand at a time."""
    rows = _rows_per_week(one, facts)
    per_person = rows.sum(axis=1)
    bounds = np.searchsorted(
        np.cumsum(per_person), np.arange(0, per_person.sum() + ROWS_PER_CHUNK, ROWS_PER_CHUNK)
    )
    pages = _Pages(one, facts)
    for start, stop in zip(bounds[:-1], [*bounds[1:-1], one.size], strict=True):
        if stop > start:
            yield _chunk(one, facts, rows[start:stop], int(start), pages)


def _rows_per_week(one: Presentation, facts: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Return how many rows each person makes in each week (people x weeks)."""
    rng = one.rng
    shape = (one.size, len(WEEKS))
    lasting = one.engagement[:, None]
    coming = np.sqrt(PERSISTENCE) * lasting + np.sqrt(1 - PERSISTENCE) * _slow_noise(rng, shape)
    volume = np.sqrt(VOLUME_PERSISTENCE) * lasting + np.sqrt(
        1 - VOLUME_PERSISTENCE
    ) * rng.standard_normal((one.size, 1))
    amount = np.exp(PERSON_SPREAD * volume + WEEK_SPREAD * rng.standard_normal(shape))
    active = np.zeros(shape, dtype=bool)
    mean_rows = np.zeros(shape)
    still = one.quit_day[:, None] >= 7 * WEEKS[None, :]
    for code, outcome in enumerate(RESULTS):
        mine = one.result == code
        weekly = facts["clicks"]["weekly_by_result"][outcome]
        for column, week in enumerate(WEEKS):
            known = weekly.get(str(week))
            there = mine & still[:, column]
            if known is None or not there.any():
                continue
            wanted = known["active_share"] * mine.sum()
            active[leading(coming[:, column], there, wanted, rng), column] = True
            mean_rows[mine, column] = known["mean_rows_all"] / max(known["active_share"], 1e-3)
    _silence(one, active, facts)
    raw = np.where(active, np.maximum(mean_rows * amount, 0.4), 0.0)
    scale = one.click_rows / max(1.0, raw.sum())
    counts: Ints = np.zeros(shape, dtype=np.int64)
    for _round in range(4):  # rounding up to one row lifts the total a little
        counts = np.floor(raw * scale + rng.random(shape)).astype(np.int64)
        counts = np.where(active, np.maximum(counts, 1), 0)
        scale *= one.click_rows / max(1, counts.sum())
    return counts


def _slow_noise(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return standard normal noise that resembles itself from week to week (AR(1), 0.3)."""
    noise = rng.standard_normal(shape)
    for week in range(1, shape[1]):
        noise[:, week] = 0.3 * noise[:, week - 1] + np.sqrt(1 - 0.09) * noise[:, week]
    return noise


def _silence(one: Presentation, active: npt.NDArray[np.bool_], facts: Mapping[str, Any]) -> None:
    """Make sure that the real share of people never comes, and that the others come once."""
    shares = facts["clicks"]["enrolments_without_any_click"]["share_by_result"]
    for code, outcome in enumerate(RESULTS):
        mine = np.flatnonzero(one.result == code)
        quiet = round(shares[outcome] * len(mine))
        by_visits = mine[np.lexsort((one.engagement[mine], active[mine].sum(axis=1)))]
        active[by_visits[:quiet]] = False
        rest = by_visits[quiet:]
        never = rest[~active[rest].any(axis=1)]
        active[never, 1 + one.rng.integers(0, 4, len(never))] = True


class _Pages:
    """The pages of a presentation with how often each is chosen and how often clicked."""

    def __init__(self, one: Presentation, facts: Mapping[str, Any]) -> None:
        kinds = facts["clicks"]["by_activity"]
        weights = np.empty(len(one.sites))
        means = np.empty(len(one.sites))
        names = [site[0] for site in one.sites]
        for kind in set(names):
            places = [place for place, name in enumerate(names) if name == kind]
            # A few pages of a kind draw most of its visits (Zipf).
            popularity = 1.0 / np.arange(1, len(places) + 1) ** 0.55
            weights[places] = kinds[kind]["row_share"] * popularity / popularity.sum()
            means[places] = kinds[kind]["mean_sum_click"]
        self.cumulative = np.cumsum(weights / weights.sum())
        self.cumulative[-1] = 1.0
        wanted = one.facts["clicks"] / one.facts["click_rows"]
        present = float((weights / weights.sum() * means).sum())
        self.excess = (means - 1) * (wanted - 1) / (present - 1)


def _chunk(
    one: Presentation,
    facts: Mapping[str, Any],
    rows: npt.NDArray[np.int64],
    first: int,
    pages: _Pages,
) -> list[Any]:
    """Return the rows of some people as columns: a day, a page and clicks for each row."""
    rng = one.rng
    person, week = np.nonzero(rows)
    counts = rows[person, week]
    days = _days(one, facts, counts, week, first + person)
    cell = np.repeat(np.arange(len(counts)), counts)
    day = days[cell, (rng.random(len(cell)) * _active_days(rng, counts)[cell]).astype(np.int64)]
    site = np.searchsorted(pages.cumulative, rng.random(len(cell)))
    clicks = 1 + np.floor(
        pages.excess[site]
        * np.exp(CLICK_SPREAD * rng.standard_normal(len(cell)) - CLICK_SPREAD**2 / 2)
        + 0.25 * rng.random(len(cell))
    ).astype(np.int64)
    again = (rng.random(len(cell)) < REPEAT_SHARE) & np.r_[False, cell[1:] == cell[:-1]]
    place = np.flatnonzero(again)
    day[place], site[place] = day[place - 1], site[place - 1]
    exact = place[rng.random(len(place)) < EXACT_SHARE]
    clicks[exact] = clicks[exact - 1]
    day = np.clip(day, one.facts["first_day"], one.facts["last_day"])
    order = np.lexsort((day, person[cell]))
    return [
        _repeated(one.module, len(cell)),
        _repeated(one.presentation, len(cell)),
        one.ids[first + person[cell]][order],
        one.first_site + site[order],
        day[order],
        clicks[order],
    ]


def _repeated(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)


def _active_days(rng: np.random.Generator, counts: Ints) -> Ints:
    """Return on how many days of the week the rows of one person and week fall."""
    likely = np.clip(0.9 + 0.55 * counts**0.5, 1, 7)
    days: Ints = np.minimum(np.minimum(1 + rng.poisson(likely - 0.9), 7), counts)
    return days


def _days(
    one: Presentation, facts: Mapping[str, Any], counts: Ints, week: Ints, person: Ints
) -> npt.NDArray[np.int64]:
    """Return the seven days of each person's week, the likeliest for a visit first."""
    weekday = facts["clicks"]["weekday_pattern_clicks_share_by_date_mod7"]
    pull = np.log([float(weekday[str(day)]) for day in range(7)])
    calendar = 7 * WEEKS[:, None] + np.arange(7)[None, :]
    near = facts["clicks"]["daily_clicks_relative_to_mean_by_offset_from_TMA_due"]
    attraction = np.broadcast_to(pull, calendar.shape).copy()
    for work in one.assessments:
        if work["type"] == "TMA" and work["date"] is not None:
            for offset, factor in near.items():
                attraction[calendar == int(work["date"]) + int(offset)] += np.log(factor)
    # Weighted sampling without replacement (Efraimidis & Spirakis 2006), as Gumbel noise.
    keys = attraction[week] + one.rng.gumbel(size=(len(counts), 7))
    order = np.argsort(-keys, axis=1)
    days = np.take_along_axis(calendar[week], order, axis=1)
    # Nobody comes after the day on which they gave up, except in the same week by rounding.
    last = np.ceil(one.quit_day[person] + 3)[:, None].astype(np.int64)
    kept: Ints = np.minimum(days, last)
    return kept
