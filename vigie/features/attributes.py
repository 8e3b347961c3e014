"""Features of the cohort's own columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import AttributeFeature, Dataset, cohort_column
from vigie.engine import materialized, with_expressions
from vigie.features.feature import Feature, label_of_category, slug
from vigie.features.part import COHORT_ID, Part, refuse_twins
from vigie.features.vocabulary import Vocabulary

if TYPE_CHECKING:
    import ibis


def attribute_features(
    groups: Iterable[AttributeFeature],
    cohort: ibis.Table,
    dataset: Dataset,
    vocabulary: Vocabulary,
) -> Part:
    """Return all features that were known from the start, from one pass over the cohort."""
    sources: dict[str, str] = {}
    expressions: dict[str, str] = {}
    for number, group in enumerate(groups):
        if group.expression is not None:
            sources[group.name] = f"vigie_value_{number}"
            expressions[sources[group.name]] = group.expression
        elif group.column is not None:
            sources[group.name] = cohort_column(group.column)
    view = materialized(with_expressions(cohort, expressions)) if expressions else cohort
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for group in groups:
        made = _attribute(group, view, sources[group.name], dataset.cohort.source, vocabulary)
        refuse_twins([*features, *(feature for feature, _value in made)])
        columns |= {feature.name: value for feature, value in made}
        features += [feature for feature, _value in made]
    return Part(view.select(COHORT_ID, **columns), features)


def _attribute(
    group: AttributeFeature, view: ibis.Table, column: str, source: str, vocabulary: Vocabulary
) -> list[tuple[Feature, Any]]:
    value = view[column]
    categories = group.categories
    if group.top is not None:
        rows = view.select(COHORT_ID, column).mutate(vigie_n=1)
        categories = vocabulary.most_frequent(group.name, rows, column, group.top, view)
        if not categories:
            return []
    if categories:
        names: list[str] = []
        for one in categories:
            name = f"{group.name}_{slug(one)}"
            while name in names:
                name += "_2"
            names.append(name)
        return [
            (
                Feature(
                    name,
                    "category",
                    label_of_category(group.label, one),
                    source,
                    group.column,
                    category=one,
                    topic=group.topic or group.label,
                ),
                (value == one).fill_null(False).cast("int8"),  # noqa: FBT003
            )
            for name, one in zip(names, categories, strict=True)
        ]
    if group.order:
        codes = value.cases(*[(one, code) for code, one in enumerate(group.order)], else_=None)
        feature = Feature(
            group.name,
            "ordinal",
            group.label,
            source,
            group.column,
            categories=group.order,
            topic=group.topic,
        )
        return [(feature, codes)]
    feature = Feature(
        group.name,
        "number",
        group.label,
        source,
        group.column or group.expression,
        topic=group.topic,
    )
    return [(feature, value)]
