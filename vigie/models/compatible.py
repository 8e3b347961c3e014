"""Whether a model can be read here, and whether it knows the features that it is given."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from vigie.errors import ModelError
from vigie.i18n import _
from vigie.models.metadata import library_versions, schema_entry
from vigie.names import listed_briefly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMES_SHOWN = 10


def check_versions(metadata: Mapping[str, Any], *, where: str, mode: str) -> tuple[str, ...]:
    """Return notes on harmless differences between the libraries then and now.

    scikit-learn promises nothing for models of another release (its user guide, "Model
    persistence"); the tree's memory layout did change between minor ones. NumPy's arrays do not
    come back across a major one.

    Raises
    ------
    ModelError
        When scikit-learn differs in its major or minor version, or NumPy in its major one.
    """
    now, notes = library_versions(), []
    for library, parts in (("scikit-learn", 2), ("numpy", 1), ("python", 0)):
        then = str(metadata["libraries"].get(library, ""))
        if then == now[library]:
            continue
        if then.split(".")[:parts] != now[library].split(".")[:parts]:
            raise ModelError(
                _("The model was trained with {library} {then}; here it is {now}.").format(
                    library=library, then=then or "?", now=now[library]
                ),
                where=where,
                fix=_("Train again ({command}), or install {library}=={then}.").format(
                    command=train_command(mode), library=library, then=then or "?"
                ),
            )
        notes.append(
            _("the model was trained with {library} {then}, here it is {now}").format(
                library=library, then=then or "?", now=now[library]
            )
        )
    return tuple(notes)


def check_schema(
    metadata: Mapping[str, Any],
    features: Sequence[Mapping[str, Any]],
    *,
    cutoff_days: int | None,
    dataset: str,
    mode: str,
) -> None:
    """Refuse features that are not those that the model was trained on, in their order.

    Parameters
    ----------
    features
        The entries of ``features_metadata_{mode}.json``.

    Raises
    ------
    ModelError
        With everything that differs, one line each.
    """
    differences = []
    if metadata.get("dataset", dataset) != dataset:
        differences.append(
            _("data set: the model knows {then}, these are {now}").format(
                then=metadata["dataset"], now=dataset
            )
        )
    if metadata["cutoff_days"] != cutoff_days:
        differences.append(
            _("cut-off: the model knows day {then}, the features day {now}").format(
                then=metadata["cutoff_days"], now=cutoff_days
            )
        )
    advice = _("Train again on these features: {command}")
    if not differences:
        # Outcomes in new files let windows and categories be learnt anew.
        advice = _(
            "Train again on these features: {command}. Or, where the rows are only to be scored, "
            "leave their outcomes empty: windows and categories are then those of the model."
        )
    differences += _schema_differences(metadata["features"], features)
    if differences:
        raise ModelError(
            _("The model does not fit the features:") + "".join(f"\n  {d}" for d in differences),
            where=_("model {version}").format(version=metadata["version"]),
            fix=advice.format(command=train_command(mode)),
        )


def _schema_differences(
    trained: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]
) -> list[str]:
    then = {str(entry["name"]): schema_entry(entry) for entry in trained}
    now = {str(entry["name"]): schema_entry(entry) for entry in given}
    missing = [name for name in then if name not in now]
    new = [name for name in now if name not in then]
    lines = []
    if missing:
        lines.append(_("- missing: {names}").format(names=listed_briefly(missing, _NAMES_SHOWN)))
    if new:
        lines.append(_("+ new: {names}").format(names=listed_briefly(new, _NAMES_SHOWN)))
    for name in missing:
        near = get_close_matches(name, new, n=1, cutoff=0.8)
        if near:
            lines.append("  " + _("{name}: renamed to {now}?").format(name=name, now=near[0]))
    if not missing and not new and list(then) != list(now):
        place, (old, current) = next(
            (i, pair) for i, pair in enumerate(zip(then, now, strict=True)) if pair[0] != pair[1]
        )
        lines.append(
            _("other order: column {place} was {then}, is {now}").format(
                place=place + 1, then=old, now=current
            )
        )
    lines.extend(
        _("~ {name}: {part} was {then}, is {now}").format(
            name=name, part=part, then=then[name][part], now=now[name][part]
        )
        for name in then
        for part in ("kind", "categories")
        if name in now and then[name][part] != now[name][part]
    )
    return lines


def train_command(mode: str) -> str:
    """Return the command that makes a model anew."""
    return f"vigie run --mode {mode} --steps train"
