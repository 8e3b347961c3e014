"""What the makers of features share: a part of the matrix, and the names of its columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vigie.dataset.spec import Measure
from vigie.errors import DeclarationError
from vigie.features.feature import Feature
from vigie.i18n import _

if TYPE_CHECKING:
    import ibis

COHORT_ID = "cohort_id"
AGE = "vigie_age_days"
# Zero is what "nothing happened" means for these; for the others it is "not known".
ZERO_WHEN_NOTHING = frozenset({"sum", "count", "active_days", "distinct"})


@dataclass(slots=True)
class Part:
    """Some features as a table with one row per cohort row that has any (key: ``cohort_id``)."""

    table: ibis.Table
    features: list[Feature]
    zero: set[str] = field(default_factory=set)


def refuse_twins(features: Iterable[Feature]) -> None:
    """Refuse features of the same name.

    Raises
    ------
    DeclarationError
        With all such names.
    """
    names = [feature.name for feature in features]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DeclarationError(
            _("Two features have the same name: {names}.").format(names=", ".join(sorted(twice))),
            where="features",
            fix=_("Give one of the measures another name."),
        )


def value_columns(measures: Iterable[Measure], table: ibis.Table) -> dict[str, str]:
    """Return the SQL of each measured value, by the name of the column that will hold it."""
    columns: dict[str, str] = {}
    for measure in measures:
        value = measure.expression or (f'"{measure.column}"' if measure.column else "1")
        if measure.when:
            value = f"CASE WHEN {measure.when} THEN {value} END"
        columns.setdefault(value_name(measure), value)
    return columns


def value_name(measure: Measure) -> str:
    """Return the name of the column that holds what is measured."""
    return f"vigie_value_{measure.name}"


def condition_name(measure: Measure) -> str:
    """Return the name of the column that says whether the measure's condition holds."""
    return f"vigie_when_{measure.name}"
