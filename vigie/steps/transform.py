"""The transform step: clean tables and the cohort."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from vigie.data.cohort import NO_CUTOFF, TransformReport
from vigie.data.stored_tables import new_tables_url, record_tables, tables_url
from vigie.data.table_engine import open_spark_tables
from vigie.data.transform import Cleaned, transform_on, transform_tables
from vigie.dataset.spec import Dataset
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_folder, write_json
from vigie.pipeline.interrupt import run_interruptibly
from vigie.pipeline.step import StepContext
from vigie.spark.session import cancel, spark_errors

SUMMARY_FILE = "summary.json"


def run(context: StepContext) -> None:
    """Clean the tables, make the cohort at the cut-off, draw the sample."""
    dataset: Dataset = context.services["dataset"]
    extracted = context.input("extracted").path
    sample_size = context.param(f"modes.{context.mode}.sample_size")
    source = json.loads((extracted / "source.json").read_text("utf-8"))
    with (
        context.progress(_("cleaning the tables"), 1.0) as bar,
        atomic_folder(context.output("clean").path) as folder,
    ):
        if context.param("engine.name") == "spark":
            report = _on_spark(context, dataset, extracted, folder, sample_size)
        else:
            report = run_interruptibly(
                lambda: transform_tables(
                    extracted,
                    folder,
                    dataset,
                    cutoff=context.param("cutoff_days"),
                    sample_size=sample_size,
                    threads=context.services["threads"],
                    memory_limit=context.services["memory_limit"],
                    on_table=lambda _table, share: bar.advance_to(share),
                    cleaned=_cleaned(context),
                    origin=context.services["settings"].get("dataset"),
                )
            )
        summary = {
            **asdict(report),
            "generated": source["generated"],
            "cutoff_days": context.param("cutoff_days"),
            "sample_size": sample_size,
        }
        write_json(folder / SUMMARY_FILE, summary)
    context.facts.update(summary)
    _tell(context, dataset, report)


def _cleaned(context: StepContext) -> Cleaned | None:
    """Return the tables of another cut-off that a trial has made just before."""
    folder: Path | None = context.services.get("cleaned")
    if folder is None:
        return None
    summary = json.loads((folder / SUMMARY_FILE).read_text("utf-8"))
    return Cleaned(folder, summary["rows"], summary["set_aside"])


def _on_spark(
    context: StepContext, dataset: Dataset, extracted: Path, folder: Path, sample_size: int | None
) -> TransformReport:
    """Do the same on Spark; the tables may lie where only Spark sees them."""
    session = context.services["spark"]()
    source = tables_url(extracted)
    target = new_tables_url(folder, context.output("clean").path, context.services["storage"])

    def transform() -> TransformReport:
        with spark_errors(context.services["spark_log"]):
            with open_spark_tables(session, source, target) as engine:
                report = transform_on(
                    engine,
                    dataset,
                    cutoff=context.param("cutoff_days"),
                    sample_size=sample_size,
                )
            record_tables(session, folder, target)
            return report

    return run_interruptibly(transform, stop=lambda: cancel(session))


def _tell(context: StepContext, dataset: Dataset, report: TransformReport) -> None:
    language = context.services["language"]
    plural = dataset.cohort.plural.in_language(language)
    said = (
        _("{kept} of {all} {things} are in the cohort")
        if dataset.timeless or dataset.cohort.cutoff is not None
        else _("{kept} of {all} {things} are in the cohort at day {cutoff}")
    )
    context.say(
        said.format(
            kept=f"{report.eligible:,}",
            all=f"{report.candidates:,}",
            things=plural,
            cutoff=context.param("cutoff_days"),
        )
    )
    if report.excluded.get(NO_CUTOFF):
        context.say(
            _("left out: {count} without a cut-off").format(count=report.excluded[NO_CUTOFF])
        )
    for one in dataset.cohort.exclude:
        count = report.excluded[one.reason]
        if count:
            context.say(
                _("left out: {count} {reason}").format(
                    count=f"{count:,}", reason=one.name.in_language(language)
                )
            )
    if report.cohort < report.eligible:
        context.say(
            _("sample: {count} of them, chosen by a hash of their key").format(
                count=f"{report.cohort:,}"
            )
        )
    for table, reasons in report.set_aside.items():
        context.warn(
            _("{table}: rows set aside because their keys don't hold: {reasons}").format(
                table=table,
                reasons=", ".join(f"{reason} {count:,}" for reason, count in reasons.items()),
            )
        )
