"""The load step: clean tables and cohort into PostgreSQL."""

from __future__ import annotations

import json

from vigie.data.load import load_tables
from vigie.data.stored_tables import visible_tables
from vigie.data.transform import clean_paths
from vigie.dataset.spec import Dataset
from vigie.i18n import _
from vigie.pipeline.step import StepContext


def run(context: StepContext) -> None:
    """Stage, check and swap all tables in one transaction."""
    dataset: Dataset = context.services["dataset"]
    folder = context.input("clean").path
    tables = visible_tables(folder)
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    address = context.services["address"]()
    total = sum(summary["rows"].values()) + summary["cohort"]
    context.services["before_replacing"](context.reporter)
    with context.progress(_("loading into PostgreSQL"), total, "rows") as bar:
        report = load_tables(
            address,
            context.services["schema"],
            dataset,
            clean_paths(tables, dataset.tables),
            tables / "cohort.parquet",
            fingerprint=context.services["fingerprint"](),
            run={"mode": context.mode, **summary},
            progress=lambda _phase, share: bar.advance_to(share * total),
        )
    context.facts["rows"] = dict(report.rows)
    context.facts["seconds"] = dict(report.seconds)
    context.say(
        _("{rows} rows of {tables} tables into schema {schema} of {address}").format(
            rows=f"{sum(report.rows.values()):,}",
            tables=len(report.rows),
            schema=context.services["schema"],
            address=address.masked,
        )
    )
