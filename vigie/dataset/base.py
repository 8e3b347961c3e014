"""What all parts of a declaration share: their base, names in two languages, fixed names.

The text below each field is its description in the reference and in the JSON Schema
(``vigie.dataset.reference``).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

CUTOFF = "cutoff"
ROW_ID = "row_id"
# Names that the cohort gives to columns of its own.
# What vigie's own columns begin with, beside those of the cohort.
OWN_PREFIX = "vigie_"
COHORT_COLUMNS = ("cohort_id", CUTOFF, "label", "group_key", "period")


# The dates of a row's cut-off and of the day that its outcome became known on.
CUTOFF_DATE = "vigie_cutoff_on"
KNOWN_DATE = "vigie_known_on"


def report_column(name: str) -> str:
    """Return where a column that results are reported by stands in the cohort's file.

    >>> report_column("code_module")
    'report_code_module'
    """
    return f"report_{name}"


def cohort_column(name: str) -> str:
    """Return what a column of the cohort's table is called in the cohort."""
    # Engines don't tell names apart by letter case.
    return f"{name}_" if name.lower() in COHORT_COLUMNS else name


class Declared(BaseModel):
    """Base of all parts: frozen, and no key that isn't known."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Label(Declared):
    """A name for people, in both languages."""

    en: str
    """In English."""
    fr: str
    """In French."""

    def in_language(self, language: str) -> str:
        """Return the name in `language`."""
        return self.fr if language == "fr" else self.en
