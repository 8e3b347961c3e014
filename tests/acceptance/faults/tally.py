"""How many faults were tried, and how many the work came through with nothing lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROPERTY = "faults"
REPORT_VARIABLE = "VIGIE_FAULTS_REPORT"
Counts = dict[str, dict[str, list[int]]]


@dataclass
class Tally:
    """Faults by kind and by the moment they came at, each ``[tried, survived]``."""

    counts: Counts = field(default_factory=dict)

    def add(self, kind: str, moment: str, *, survived: bool) -> None:
        """Count one fault that was tried."""
        counted = self.counts.setdefault(kind, {}).setdefault(moment, [0, 0])
        counted[0] += 1
        counted[1] += survived

    @contextmanager
    def fault(self, kind: str, moment: str = "") -> Iterator[None]:
        """Count a fault as survived where the block ends well."""
        try:
            yield
        except BaseException:
            self.add(kind, moment, survived=False)
            raise
        self.add(kind, moment, survived=True)


def merged(parts: list[Counts]) -> Counts:
    """Return the sums of several tests' counts."""
    total = Tally()
    for part in parts:
        for kind, moments in part.items():
            for moment, (tried, survived) in moments.items():
                counted = total.counts.setdefault(kind, {}).setdefault(moment, [0, 0])
                counted[0] += tried
                counted[1] += survived
    return total.counts


def rows(counts: Counts) -> list[tuple[str, int, int]]:
    """Return a row for each kind, one for each moment below it, and the sum."""
    shown = []
    tried_in_all = survived_in_all = 0
    for kind, moments in counts.items():
        tried = sum(pair[0] for pair in moments.values())
        survived = sum(pair[1] for pair in moments.values())
        tried_in_all, survived_in_all = tried_in_all + tried, survived_in_all + survived
        shown.append((kind, tried, survived))
        if set(moments) != {""}:
            shown += [(f"    {moment}", *pair) for moment, pair in moments.items()]
    return [*shown, ("all", tried_in_all, survived_in_all)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the table, and write it as JSON; a report's properties come through xdist as well."""
    parts: list[Counts] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                parts += [value for name, value in report.user_properties if name == PROPERTY]
    counts = merged(parts)
    if not counts:
        return
    terminalreporter.section("faults tried and survived")
    for name, tried, survived in rows(counts):
        terminalreporter.line(f"{name:<52} {tried:>6} {survived:>6}")
    asked = os.environ.get(REPORT_VARIABLE)
    path = Path(asked) if asked else config.cache.mkdir("faults") / "faults.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _name, tried, survived = rows(counts)[-1]
    content = {"tried": tried, "survived": survived, "kinds": counts}
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    terminalreporter.line(f"written to {path}")
