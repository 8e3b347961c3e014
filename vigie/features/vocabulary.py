"""Which values of a text are features of their own.

Where the declaration leaves that open, the most frequent values of the rows with an outcome are
taken, and kept with the model: rows that are scored later must meet the same features, whatever
else is in their file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vigie.engine import to_arrow

if TYPE_CHECKING:
    import ibis

COHORT_ID = "cohort_id"


@dataclass(slots=True)
class Vocabulary:
    """The values by the name of what they are of.

    Parameters
    ----------
    given
        Those that a model knows; they go before what the rows say.
    used
        All that were asked for, with the answers.
    """

    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    used: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def learnt(self, name: str, find: Callable[[], Iterable[str]]) -> tuple[str, ...]:
        """Return what the model knows under `name`, else what `find` finds; it is kept."""
        values = tuple(self.given[name]) if name in self.given else tuple(find())
        self.used[name] = values
        return values

    def most_frequent(
        self, name: str, rows: ibis.Table, column: str, top: int, cohort: ibis.Table
    ) -> tuple[str, ...]:
        """Return the values of `column`, the most frequent first.

        Parameters
        ----------
        rows
            With ``cohort_id``, the column, and in ``vigie_n`` how many rows each stands for.
        top
            How many values at most.
        cohort
            With ``cohort_id`` and ``label``.
        """
        import ibis

        if name in self.given:
            values = tuple(self.given[name])
        else:
            # Rows whose outcome isn't known yet have no say, unless there are no others.
            labelled = cohort.filter(cohort["label"].notnull()).select(COHORT_ID)
            value = rows[column].cast("string")
            told = rows.mutate(vigie_value=value).filter(value.notnull())
            learnt = told.semi_join(labelled, COHORT_ID)
            counted = (
                learnt if to_arrow(learnt.aggregate(n=learnt.count()))["n"][0].as_py() else told
            )
            counts = counted.group_by("vigie_value").aggregate(n=counted["vigie_n"].sum())
            ranked = counts.order_by([ibis.desc("n"), "vigie_value"]).limit(top)
            values = tuple(str(one) for one in to_arrow(ranked)["vigie_value"].to_pylist())
        self.used[name] = values
        return values
