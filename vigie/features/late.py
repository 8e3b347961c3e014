"""Features of other features: ranks within a group, ratios."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from vigie.dataset.spec import Label, RankFeatures, RatioFeature
from vigie.engine import materialized, query, quote_name, with_expressions
from vigie.errors import DeclarationError
from vigie.features.feature import Feature
from vigie.features.part import COHORT_ID, refuse_twins
from vigie.i18n import _
from vigie.refusals import declared_expressions

if TYPE_CHECKING:
    import ibis

WITHIN = "vigie_within_"


def late_feature(
    group: RankFeatures | RatioFeature, wide: ibis.Table, features: list[Feature]
) -> tuple[ibis.Table, list[Feature]]:
    """Return the table with a group's features added, and these.

    Parameters
    ----------
    wide
        One row per cohort row, with every feature so far.
    features
        What these columns are.
    """
    if isinstance(group, RatioFeature):
        feature = Feature(
            group.name, "derived", group.label, "features", group.expression, topic=group.topic
        )
        refuse_twins([*features, feature])
        names = [one.name for one in features]
        with declared_expressions(f"features, {group.name}", names):
            return with_expressions(wide, {group.name: group.expression}), [feature]
    known = {feature.name: feature for feature in features}
    ranked = {f"{name}_{group.name}": known[name] for name in _ranked(group, known)}
    more = [
        Feature(
            new,
            "rank",
            Label(
                en=f"{base.label.en}, {group.label.en}",
                fr=f"{base.label.fr}, {group.label.fr}",
            ),
            base.source,
            base.column,
            base.clock,
            "rank",
            base.window_days,
            topic=base.topic or base.label,
        )
        for new, base in ranked.items()
    ]
    return _with_ranks(group, wide, ranked), more


def _ranked(group: RankFeatures, known: Collection[str]) -> list[str]:
    """Return the features to rank, each once, in the order of the declaration."""
    found: list[str] = []
    for pattern in group.of:
        names = [name for name in known if fnmatchcase(name, pattern)]
        if not names:
            raise DeclarationError(
                _("features.{group}: there is no feature {name!r} to rank.").format(
                    group=group.name, name=pattern
                ),
                where=f"features.{group.name}.of",
            )
        found += names
    return list(dict.fromkeys(found))


def _with_ranks(group: RankFeatures, wide: ibis.Table, ranked: Mapping[str, Feature]) -> ibis.Table:
    """Return `wide` with the rank of each feature, by its name, among the rows that have a value.

    All values below each other and ranked by one window, which is then as narrow as can be: a
    window for each of thirty ranks, each with all columns in tow, takes three times as long.
    """
    import ibis

    within = [f"{WITHIN}{name}" for name in group.within]
    names = [feature.name for feature in ranked.values()]
    narrow = materialized(wide.select(COHORT_ID, *within, *names), small=True)
    backend = ibis.get_backend(narrow)
    source, keys = quote_name(narrow.op().name), [quote_name(name) for name in within]
    listed = []
    for number, name in enumerate(names):
        value = quote_name(name)
        # Sums of fractions depend on their order in the last digits: ties must not.
        exact = f"CAST({value} AS REAL)" if narrow[name].type().is_floating() else value
        columns = [COHORT_ID, *keys, f"{number} AS which", f"CAST({exact} AS DOUBLE) AS v"]
        # Rows without the value must not shift the others.
        listed.append(f"SELECT {', '.join(columns)} FROM {source} WHERE {value} IS NOT NULL")
    partition = ", ".join(["which", *keys])
    by_row = ", ".join(
        f"max(CASE WHEN which = {number} THEN r END) AS {quote_name(new)}"
        for number, new in enumerate(ranked)
    )
    ranks = query(
        backend,
        f"SELECT {COHORT_ID}, {by_row} FROM (SELECT {COHORT_ID}, which, "
        f"percent_rank() OVER (PARTITION BY {partition} ORDER BY v) AS r "
        f"FROM ({' UNION ALL '.join(listed)}) AS listed) AS ranks GROUP BY {COHORT_ID}",
    )
    return wide.left_join(materialized(ranks, small=True), COHORT_ID).drop(f"{COHORT_ID}_right")
