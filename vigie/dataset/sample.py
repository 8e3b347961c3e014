"""Generates data of OULAD's shape that behaves like the real release.

Everything is calibrated on the figures in ``declared/oulad_facts.json``, which were counted on the
whole release; no row of it is here. The same size and seed give the same bytes, on any number of
cores: every presentation draws from a stream of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from vigie.errors import UsageError
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write, write_json

GENERATED_MARKER = "GENERATED.json"
FULL_SIZE = 32_593
# Each of the 22 presentations needs a few students of every result.
SMALLEST = 22 * 8
FORMAT = 1


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What was generated: rows of each file, by its name."""

    out: Path
    enrolments: int
    row_counts: dict[str, int]
    seed: int
    seconds: float


def load_facts() -> dict[str, Any]:
    """Return the figures that were counted on the real release."""
    text = (resources.files("vigie.dataset") / "declared" / "oulad_facts.json").read_text("utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def generate_sample(
    out: Path,
    *,
    enrolments: int = FULL_SIZE,
    seed: int = 42,
    packed: bool = False,
    progress: Callable[[float], None] | None = None,
) -> SampleReport:
    """Write the seven CSVs and the marker ``GENERATED.json`` into the folder `out`.

    Files of the same tables in the other form, packed or not, are taken away.

    Parameters
    ----------
    enrolments
        How many; 32,593 is the size of the real release, with about 10.66 M rows of clicks.
    seed
        Of all random choices.
    packed
        Write ``.csv.gz``.
    progress
        Called with the share (0 to 1) that is done.

    Raises
    ------
    UsageError
        When so few enrolments can't be spread over the presentations.
    """
    if enrolments < SMALLEST:
        raise UsageError(
            _("{count} enrolments are too few for {presentations} presentations.").format(
                count=enrolments, presentations=22
            ),
            where="--enrolments",
            fix=_("Ask for {smallest} or more.").format(smallest=SMALLEST),
        )
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    counts = _write_tables(out, enrolments, seed, progress or (lambda _share: None), packed=packed)
    return SampleReport(out, enrolments, counts, seed, time.perf_counter() - started)


def _write_tables(
    out: Path, enrolments: int, seed: int, progress: Callable[[float], None], *, packed: bool
) -> dict[str, int]:
    from vigie.dataset.sample_clicks import generate_clicks
    from vigie.dataset.sample_csv import CsvWriter
    from vigie.dataset.sample_people import plan_presentations
    from vigie.dataset.sample_work import generate_submissions

    facts = load_facts()
    presentations = plan_presentations(facts, enrolments, seed)
    total = sum(one.click_rows for one in presentations)
    done = 0
    with ExitStack() as stack:
        writers: dict[str, CsvWriter] = {
            name: stack.enter_context(_writer(out, name, columns, packed=packed))
            for name, columns in COLUMNS.items()
        }
        for one in presentations:
            writers["courses"].write([[one.module], [one.presentation], [one.length]])
            writers["assessments"].write(one.assessment_columns())
            writers["vle"].write(one.site_columns())
            writers["studentInfo"].write(one.info_columns())
            writers["studentRegistration"].write(one.registration_columns())
            writers["studentAssessment"].write(generate_submissions(one, facts))
            for chunk in generate_clicks(one, facts):
                writers["studentVle"].write(chunk)
                done += len(chunk[0])
                progress(min(1.0, done / total))
        # Before the first file takes its place: nothing that is generated may pass for real, and
        # what an interruption leaves as it was keeps its own marker until then.
        write_json(
            out / GENERATED_MARKER,
            {"generator": "vigie sample", "format": FORMAT, "seed": seed, "enrolments": enrolments},
            mode=0o644,
        )
        return {name: writer.rows for name, writer in writers.items()}


@contextmanager
def _writer(out: Path, name: str, columns: list[str], *, packed: bool) -> Iterator[Any]:
    from vigie.dataset.sample_csv import CsvWriter, packing

    target, other = out / f"{name}.csv", out / f"{name}.csv.gz"
    if packed:
        target, other = other, target
    with (
        atomic_write(target, mode=0o644) as path,
        path.open("wb", buffering=1 << 20) as opened,
        packing(opened) if packed else nullcontext(opened) as stream,
    ):
        yield CsvWriter(stream, columns)
    # Of one table in two files nobody knows which is meant.
    other.unlink(missing_ok=True)


COLUMNS = {
    "courses": ["code_module", "code_presentation", "module_presentation_length"],
    "assessments": [
        "code_module",
        "code_presentation",
        "id_assessment",
        "assessment_type",
        "date",
        "weight",
    ],
    "vle": ["id_site", "code_module", "code_presentation", "activity_type", "week_from", "week_to"],
    "studentInfo": [
        "code_module",
        "code_presentation",
        "id_student",
        "gender",
        "region",
        "highest_education",
        "imd_band",
        "age_band",
        "num_of_prev_attempts",
        "studied_credits",
        "disability",
        "final_result",
    ],
    "studentRegistration": [
        "code_module",
        "code_presentation",
        "id_student",
        "date_registration",
        "date_unregistration",
    ],
    "studentAssessment": ["id_assessment", "id_student", "date_submitted", "is_banked", "score"],
    "studentVle": [
        "code_module",
        "code_presentation",
        "id_student",
        "id_site",
        "date",
        "sum_click",
    ],
}
