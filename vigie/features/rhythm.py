"""Which windows suit a table: clicks ask for weeks, races for seasons, a census for years.

The rhythm is the median of days between one day with events and the next, of one thing, among
events known at the cut-offs of rows with an outcome. It is kept with the model, so that rows that
are scored later meet the same windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import EventFeatures

if TYPE_CHECKING:
    import ibis

    from vigie.features.vocabulary import Vocabulary

COHORT_ID = "cohort_id"
# Up to so many days between events: these windows, and those whose trend is taken.
LADDER = (
    (7, (7, 14, 28, 56, 182), (14, 28, 56)),
    (21, (14, 28, 91, 182, 365, 1095), (28, 91, 182)),
    (60, (30, 91, 182, 365, 730, 1825), (91, 182, 365)),
    (180, (91, 182, 365, 730, 1825), (182, 365, 730)),
    (10**9, (365, 730, 1825, 3650), (730, 1825)),
)


def with_windows(
    group: EventFeatures,
    days: ibis.Table,
    age: str,
    cohort: ibis.Table,
    vocabulary: Vocabulary,
) -> EventFeatures:
    """Return the group with windows in the place of "auto".

    Parameters
    ----------
    days
        With ``cohort_id`` and `age`, the days before the cut-off on which events came.
    """
    if not any(measure.windows == "auto" for measure in group.measures):
        return group
    gap = vocabulary.learnt(
        f"{group.name}.days_between", lambda: [f"{_days_between(days, age, cohort):g}"]
    )
    days_between = float(next(iter(gap), "0"))
    windows, trends = next((w, t) for most, w, t in LADDER if days_between <= most)
    measures: list[Any] = []
    for measure in group.measures:
        if measure.windows != "auto":
            measures.append(measure)
            continue
        plain = tuple(one for one in measure.aggregates if one != "trend")
        if plain:
            measures.append(measure.model_copy(update={"windows": windows, "aggregates": plain}))
        if "trend" in measure.aggregates:
            more = {"windows": trends, "aggregates": ("trend",)}
            measures.append(measure.model_copy(update=more))
    return group.model_copy(update={"measures": tuple(measures)})


def _days_between(days: ibis.Table, age: str, cohort: ibis.Table) -> float:
    import ibis

    labelled = cohort.filter(cohort["label"].notnull()).select(COHORT_ID)
    known = days.select(COHORT_ID, age).distinct()
    learnt = known.semi_join(labelled, COHORT_ID)
    if not learnt.count().to_pyarrow().as_py():
        learnt = known
    before = learnt[age].lag().over(ibis.window(group_by=COHORT_ID, order_by=learnt[age]))
    found = learnt.mutate(gap=learnt[age] - before)["gap"].median().to_pyarrow().as_py()
    return float(found or 0)
