"""A handful of enrolments, small enough that a reader can work out every feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

Row = dict[str, Any]


def _presentation(**more: Any) -> Row:
    return {"code_module": "AAA", "code_presentation": "2013J", **more}


def student(number: int, result: str = "Pass", **more: Any) -> Row:
    return {
        **_presentation(id_student=number, gender="F", region="Wales"),
        "highest_education": "A Level or Equivalent",
        "imd_band": "20-30%",
        "age_band": "0-35",
        "num_of_prev_attempts": 0,
        "studied_credits": 60,
        "disability": "N",
        "final_result": result,
        **more,
    }


def registration(number: int, registered: int | None = -30, left: int | None = None) -> Row:
    return _presentation(id_student=number, date_registration=registered, date_unregistration=left)


def visit(number: int, day: int, clicks: int, site: int = 1) -> Row:
    return _presentation(id_student=number, id_site=site, date=day, sum_click=clicks)


def submission(number: int, work: int, day: int, score: float | None, banked: int = 0) -> Row:
    return {
        "id_assessment": work,
        "id_student": number,
        "date_submitted": day,
        "is_banked": banked,
        "score": score,
    }


def work(number: int, due: int | None, weight: float = 20, kind: str = "TMA") -> Row:
    return {
        **_presentation(),
        "id_assessment": number,
        "assessment_type": kind,
        "date": due,
        "weight": weight,
    }


@dataclass
class TinyOulad:
    """Seven tables as lists of rows; tests change them and write them out."""

    courses: list[Row] = field(
        default_factory=lambda: [_presentation(module_presentation_length=268)]
    )
    assessments: list[Row] = field(
        default_factory=lambda: [work(11, 20), work(12, 50), work(13, None, 100, "Exam")]
    )
    vle: list[Row] = field(
        default_factory=lambda: [
            {"id_site": 1, **_presentation(activity_type="homepage", week_from=None, week_to=None)},
            {"id_site": 2, **_presentation(activity_type="quiz", week_from=2, week_to=3)},
        ]
    )
    studentInfo: list[Row] = field(  # noqa: N815 - the file's name
        default_factory=lambda: [student(1), student(2, "Fail")]
    )
    studentRegistration: list[Row] = field(  # noqa: N815
        default_factory=lambda: [registration(1), registration(2)]
    )
    studentAssessment: list[Row] = field(default_factory=list)  # noqa: N815
    studentVle: list[Row] = field(default_factory=list)  # noqa: N815

    columns: ClassVar[dict[str, list[str]]] = {
        "courses": ["code_module", "code_presentation", "module_presentation_length"],
        "assessments": [
            "code_module",
            "code_presentation",
            "id_assessment",
            "assessment_type",
            "date",
            "weight",
        ],
        "vle": [
            "id_site",
            "code_module",
            "code_presentation",
            "activity_type",
            "week_from",
            "week_to",
        ],
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
        "studentAssessment": [
            "id_assessment",
            "id_student",
            "date_submitted",
            "is_banked",
            "score",
        ],
        "studentVle": [
            "code_module",
            "code_presentation",
            "id_student",
            "id_site",
            "date",
            "sum_click",
        ],
    }

    def text(
        self, table: str, *, missing: str = "", end: str = "\r\n", quote: str = '"', sep: str = ","
    ) -> str:
        """Return a table as CSV text in one of the layouts in the wild."""
        lines = [sep.join(f"{quote}{name}{quote}" for name in self.columns[table])]
        for row in getattr(self, table):
            cells = [
                missing if row[name] is None else str(row[name]) for name in self.columns[table]
            ]
            lines.append(sep.join(f"{quote}{cell}{quote}" for cell in cells))
        return end.join([*lines, ""])

    def write(self, folder: Path, **layout: str) -> Path:
        """Write all seven files."""
        folder.mkdir(parents=True, exist_ok=True)
        for table in self.columns:
            (folder / f"{table}.csv").write_bytes(self.text(table, **layout).encode())
        return folder
