"""Features as they were known at the cut-off, written once in Ibis.

The cut-off is not a matter of the declaration: see ``vigie.features.known``. Each cohort row is
known by its ``cohort_id``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vigie.dataset.spec import (
    AttributeFeature,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    RankFeatures,
    RatioFeature,
)
from vigie.engine import materialized, query, quote_name
from vigie.features.attributes import attribute_features
from vigie.features.events import event_features
from vigie.features.expected import expected_features
from vigie.features.feature import Feature
from vigie.features.late import WITHIN, late_feature
from vigie.features.part import COHORT_ID, Part, refuse_twins
from vigie.features.vocabulary import Vocabulary

if TYPE_CHECKING:
    import ibis


def build_features(
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
    vocabulary: Vocabulary | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[ibis.Table, list[Feature]]:
    """Return the feature table (one row per cohort row, by ``cohort_id``) and its columns.

    Parameters
    ----------
    tables
        The clean tables by name.
    cohort
        One row for each thing to score, with ``cohort_id`` and ``cutoff``.
    dataset
        The declaration.
    vocabulary
        Gives and keeps the values that the declaration leaves open.
    progress
        Called with the share (0 to 1) of the work that is done; reading the rows is the last part.
    """
    vocabulary = vocabulary or Vocabulary()
    attributes = [group for group in dataset.features if isinstance(group, AttributeFeature)]
    parts: list[Part] = []
    if attributes:
        parts.append(attribute_features(attributes, cohort, dataset, vocabulary))
    late: list[RankFeatures | RatioFeature] = []
    for group in dataset.features:
        if isinstance(group, EventFeatures):
            parts.extend(event_features(group, tables, cohort, dataset, vocabulary))
        elif isinstance(group, ExpectedFeatures):
            parts.extend(expected_features(group, tables, cohort, dataset))
        elif not isinstance(group, AttributeFeature):
            late.append(group)
    features = [feature for part in parts for feature in part.features]
    refuse_twins(features)
    wide = _side_by_side(cohort, parts, late, progress)
    for group in late:
        wide, more = late_feature(group, wide, features)
        features.extend(more)
    refuse_twins(features)
    names = [feature.name for feature in features]
    matrix = wide.select(
        wide[COHORT_ID], **{name: wide[name].cast("float32") for name in names}
    ).order_by(COHORT_ID)
    return matrix, features


def _side_by_side(
    cohort: ibis.Table,
    parts: Sequence[Part],
    late: Iterable[RankFeatures | RatioFeature],
    progress: Callable[[float], None] | None,
) -> ibis.Table:
    """Return all parts in one table, with what ranks are taken within.

    In one SQL statement over computed tables: a chain of joins in Ibis takes time with the square
    of its length, minutes for a few dozen parts.
    """
    import ibis

    # Features may be called like columns of the cohort: of those, only what ranks need goes along.
    within = {name for group in late if isinstance(group, RankFeatures) for name in group.within}
    spine = cohort.select(COHORT_ID, **{f"{WITHIN}{name}": name for name in sorted(within)})
    tables = []
    for table in (spine, *(part.table for part in parts)):
        tables.append(materialized(table))
        if progress is not None:
            progress(len(tables) / (len(parts) + 2))
    wanted = ["t0.*"]
    joins = quote_name(tables[0].op().name) + " AS t0"
    for number, part in enumerate(parts, start=1):
        for feature in part.features:
            name = quote_name(feature.name)
            value = f"t{number}.{name}"
            # Nothing happened, where nothing is known of the row.
            wanted.append(f"coalesce({value}, 0) AS {name}" if feature.name in part.zero else value)
        joins += (
            f" LEFT JOIN {quote_name(tables[number].op().name)} AS t{number} "
            f"ON t{number}.{COHORT_ID} = t0.{COHORT_ID}"
        )
    backend = ibis.get_backend(tables[0])
    sql = f"SELECT {', '.join(wanted)} FROM {joins}"
    return materialized(query(backend, sql), small=True)
