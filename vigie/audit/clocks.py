"""Columns that were known later than their table's clock says, and features that use them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.audit.result import Part
from vigie.dataset.spec import CLOCK, CLOCK_TYPES
from vigie.engine import open_duckdb, quote_name, scan_parquet
from vigie.i18n import _
from vigie.verdict import Verdict

if TYPE_CHECKING:
    from vigie.dataset.spec import Dataset


def check_clocks(dataset: Dataset, clean: Path, features: Sequence[Mapping[str, Any]]) -> Part:
    """Find days that lie after the clock of their own row: they were known later than the row.

    A feature that is made of such a column, and doesn't hold it against the cut-off itself, knows
    the future: a day of withdrawal that stands in the row of the registration, for one.
    """
    late = _late_columns(dataset, clean)
    suspects = [
        (feature, column)
        for feature in features
        for column in late
        if _speaks_of(feature, column.split(".", 1)[1])
    ]
    figures = {
        "late_columns": late,
        "suspects": sorted({str(feature["name"]) for feature, _column in suspects}),
    }
    shown = ", ".join(f"{column} ({share:.0%})" for column, share in late.items())
    if suspects:
        lines = [
            _(
                "{name} is made of {column}, which is later than the clock in {share:.0%} of rows"
            ).format(name=feature["name"], column=column, share=late[column])
            for feature, column in suspects
        ]
        return Part("clocks", Verdict.FAIL, "\n".join(lines), figures)
    if late:
        said = _("later than their row's clock, and in no feature: {columns}").format(columns=shown)
        return Part("clocks", Verdict.PASS, said, figures)
    return Part("clocks", Verdict.PASS, _("no column is later than its row's clock"), figures)


def _late_columns(dataset: Dataset, clean: Path) -> dict[str, float]:
    """Return the share of rows, by table and column, with a day after the row's clock."""
    late: dict[str, float] = {}
    with open_duckdb() as connection:
        for name, table in dataset.tables.items():
            clock = dataset.clock_of(name)
            if clock is None:
                continue
            rows = dataset.clocked_sql(name, lambda one: scan_parquet(clean / f"{one}.parquet"))
            for column, declared in table.columns.items():
                if column == table.clock or declared.type not in CLOCK_TYPES:
                    continue
                # A number of days and a date can't be held against each other.
                if (declared.type == "day") != (clock.type == "day"):
                    continue
                row = connection.execute(
                    f"SELECT count(*) FILTER ({quote_name(column)} > {CLOCK}), "
                    f"count(*) FROM ({rows})"
                ).fetchone()
                if row and row[0]:
                    late[f"{name}.{column}"] = row[0] / row[1]
    return late


def _speaks_of(feature: Mapping[str, Any], column: str) -> bool:
    text = str(feature.get("column") or "")
    return bool(re.search(rf"(?<!\w){re.escape(column)}(?!\w)", text)) and "cutoff" not in text
