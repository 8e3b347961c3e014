"""A shop with customers, orders and returns, generated: a data set with a cut-off every month.

Each customer orders at a rate of their own until a day on which they leave, which nobody sees.
Before that they order less often and send more back, so that leaving can be foreseen, in part.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.pipeline.artifacts import atomic_write, write_json

if TYPE_CHECKING:
    import numpy as np

FIRST_DAY = date(2023, 1, 1)
DAYS = 730
CITIES = ("Lyon", "Nantes", "Lille", "Paris", "Toulouse", "Brest")
CHANNELS = ("search", "friend", "newsletter", "advert")
CATEGORIES = ("books", "garden", "kitchen", "toys", "clothes")
REASONS = ("broken", "too late", "not as shown", "changed mind")
MARKER = "GENERATED.json"
# Days before leaving in which a customer cools off.
COOLING_DAYS = 120


@dataclass(frozen=True, slots=True)
class ShopReport:
    """Where the shop was written, and how many rows each table has."""

    out: Path
    row_counts: dict[str, int]


def generate_shop(out: Path, *, customers: int = 3_000, seed: int = 42) -> ShopReport:
    """Write customers.csv, orders.csv and returns.csv into `out`; the same seed, the same bytes."""
    import numpy as np

    rng = np.random.default_rng(seed)
    people: list[tuple[Any, ...]] = []
    orders: list[tuple[Any, ...]] = []
    for number in range(1, customers + 1):
        joined = int(rng.integers(-200, DAYS - 60))
        channel = int(rng.integers(len(CHANNELS)))
        loyalty = rng.gamma(2.0, 140.0) * (1.6 if CHANNELS[channel] == "friend" else 1.0)
        city = CITIES[int(rng.integers(len(CITIES)))]
        people.append((number, _day(joined), city, CHANNELS[channel]))
        orders += _orders_of(rng, number, joined, joined + loyalty)
    orders.sort(key=lambda order: (order[1], order[0]))
    sold = [
        (place, customer, moment.strftime("%Y-%m-%d %H:%M:%S"), f"{amount:.2f}", category)
        for place, (customer, moment, amount, category, _back) in enumerate(orders, start=1)
    ]
    back = [(place, *order[-1]) for place, order in enumerate(orders, start=1) if order[-1]]
    came_back = [(n, order, day.isoformat(), why) for n, (order, day, why) in enumerate(back, 1)]
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "customers.csv", ("customer_id", "joined_on", "city", "channel"), people)
    _write(
        out / "orders.csv",
        ("order_id", "customer_id", "ordered_at", "amount", "category"),
        sold,
    )
    _write(out / "returns.csv", ("return_id", "order_id", "returned_on", "reason"), came_back)
    counts = {"customers": len(people), "orders": len(sold), "returns": len(came_back)}
    write_json(out / MARKER, {"generator": "shop", "customers": customers, "seed": seed})
    return ShopReport(out, counts)


def _orders_of(
    rng: np.random.Generator, number: int, joined: int, leaves: float
) -> list[tuple[Any, ...]]:
    """Return customer, moment, amount, category and return of each order."""
    made: list[tuple[Any, ...]] = []
    pause = rng.gamma(2.0, 14.0) + 4
    spends = rng.lognormal(3.4, 0.5)
    favourite = int(rng.integers(len(CATEGORIES)))
    day = float(joined)
    while day < min(leaves, DAYS):
        if day >= 0:
            cooling = leaves - day < COOLING_DAYS
            moment = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(
                days=int(day), seconds=int(rng.integers(25_000, 80_000))
            )
            loyal = rng.random() < 0.6
            category = CATEGORIES[favourite if loyal else int(rng.integers(len(CATEGORIES)))]
            returned = None
            if rng.random() < (0.22 if cooling else 0.07):
                later = moment.date() + timedelta(days=int(rng.integers(2, 20)))
                if later < FIRST_DAY + timedelta(days=DAYS):
                    returned = (later, REASONS[int(rng.integers(len(REASONS)))])
            amount = spends * rng.lognormal(0, 0.4) * (0.8 if cooling else 1.0)
            made.append((number, moment, amount, category, returned))
        slower = 1.0 + max(0.0, 1 - (leaves - day) / COOLING_DAYS) * 1.5
        day += rng.exponential(pause * slower) + 1
    return made


def _day(number: int) -> str:
    return (FIRST_DAY + timedelta(days=number)).isoformat()


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
