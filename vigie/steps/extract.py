"""The extract step: raw CSVs to typed Parquet."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vigie.data.extract import ExtractedTable, extract_tables
from vigie.data.raw_artifact import GENERATED_ENROLMENTS, RawSource, RawTables
from vigie.data.spark_extract import extract_on_spark
from vigie.data.spark_raw import RemoteRawTables, RemoteSource, spark_files
from vigie.data.stored_tables import new_tables_url, record_tables
from vigie.dataset.sample import generate_sample
from vigie.dataset.spec import Dataset
from vigie.errors import TooManyRejected
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_folder, atomic_write, write_json
from vigie.pipeline.interrupt import run_interruptibly
from vigie.pipeline.step import ProgressBar, StepContext
from vigie.spark.session import cancel, spark_errors

SOURCE_FILE = "source.json"


def run(context: StepContext) -> None:
    """Read every raw table; generate the data first where dev has none."""
    dataset: Dataset = context.services["dataset"]
    raw: RawTables | RemoteRawTables = context.input("raw")
    if raw.will_generate():
        assert raw.fallback is not None
        with context.progress(_("generating"), 1.0) as bar:
            _generate(context, raw.fallback, bar)
    source = raw.locate()
    target: Path = context.output("extracted").path
    with context.progress(_("reading the raw files"), 1.0) as bar:
        with atomic_folder(target) as folder:
            tables = _extract(context, dataset, source, folder, bar)
            described = {name: asdict(table) for name, table in tables.items()}
            write_json(folder / SOURCE_FILE, {"generated": source.generated, "tables": described})
    _publish_rejected(context, target, dataset)
    context.facts["generated"] = source.generated is not None
    context.facts["rows"] = {name: table.rows for name, table in tables.items()}
    context.facts["rejected"] = {n: t.rejected for n, t in tables.items() if t.rejected}
    _tell(context, source, described)


def _extract(
    context: StepContext,
    dataset: Dataset,
    source: RawSource | RemoteSource,
    folder: Path,
    bar: ProgressBar,
) -> dict[str, ExtractedTable]:
    try:
        if not isinstance(source, RawSource) or context.param("engine.name") == "spark":
            return _on_spark(context, dataset, source, folder, bar)
        return run_interruptibly(
            lambda: extract_tables(
                source.files,
                dataset,
                folder,
                project=context.project,
                max_rejected=context.param("extract.max_rejected"),
                threads=context.services["threads"],
                memory_limit=context.services["memory_limit"],
                on_table=lambda _table, share: bar.advance_to(share),
            )
        )
    except TooManyRejected:
        # Whoever has to mend them wants to see all of them.
        _publish_rejected(context, folder, dataset)
        raise


def _on_spark(
    context: StepContext,
    dataset: Dataset,
    source: RawSource | RemoteSource,
    folder: Path,
    bar: ProgressBar,
) -> dict[str, ExtractedTable]:
    """Read the files on Spark; the tables may go where only Spark sees them."""
    files = spark_files(source.files, context.project)
    session = context.services["spark"]()
    target = new_tables_url(folder, context.output("extracted").path, context.services["storage"])

    def extract() -> dict[str, ExtractedTable]:
        with spark_errors(context.services["spark_log"]):
            tables = extract_on_spark(
                session,
                files,
                dataset,
                folder,
                target,
                max_rejected=context.param("extract.max_rejected"),
                on_table=lambda _table, share: bar.advance_to(share),
            )
            record_tables(session, folder, target)
            return tables

    return run_interruptibly(extract, stop=lambda: cancel(session))


def _generate(context: StepContext, folder: Path, bar: Any) -> None:
    """Make the stand-in data unless they are there, whole, from the same recipe."""
    marker = folder / "GENERATED.json"
    if marker.is_file():
        return
    run_interruptibly(
        lambda: generate_sample(
            folder,
            enrolments=GENERATED_ENROLMENTS,
            seed=42,
            progress=bar.advance_to,
        )
    )


def _publish_rejected(context: StepContext, extracted: Path, dataset: Dataset) -> None:
    """Copy the rows set aside to where people look for them; they are kept with the tables."""
    quarantine: Path = context.services["quarantine"]
    for name in dataset.tables:
        published = quarantine / f"{name}.csv"
        rejected = extracted / "rejected" / f"{name}.csv"
        if rejected.is_file():
            with atomic_write(published) as path:
                shutil.copyfile(rejected, path)
        else:
            published.unlink(missing_ok=True)


def _tell(
    context: StepContext, source: RawSource | RemoteSource, described: dict[str, dict[str, Any]]
) -> None:
    total = sum(table["rows"] for table in described.values())
    context.say(
        _("{rows} rows of {tables} tables read from {folder}").format(
            rows=f"{total:,}", tables=len(described), folder=context.input("raw").describe()
        )
    )
    for name, table in described.items():
        if table["rejected"]:
            context.warn(
                _("{count} rows of {table} don't fit and were set aside: {file}").format(
                    count=table["rejected"], table=name, file=f"data/quarantine/{name}.csv"
                )
            )
        if table["extra_columns"]:
            context.say(
                _(
                    "{table}: columns that the declaration doesn't know are left out: {names}"
                ).format(table=name, names=", ".join(table["extra_columns"]))
            )
        if table["encoding"] != "utf-8":
            context.say(
                _("{file} is not UTF-8; it was read as {encoding}").format(
                    file=table["file"], encoding=table["encoding"]
                )
            )
