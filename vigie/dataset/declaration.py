"""Reading a declaration: from TOML to a data set, or to everything that is wrong with it."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vigie.dataset.defaults import default_features
from vigie.dataset.faults import Fault, Place, contradictions
from vigie.dataset.spec import Dataset
from vigie.errors import DeclarationError
from vigie.i18n import _, ngettext
from vigie.names import suggest
from vigie.toml_places import line_of, syntax_error, toml_places

# What can't be read is taken out to find what else is wrong; more often than this, it is hopeless.
_ATTEMPTS = 4
# In place of what must be there and isn't.
_STAND_IN: dict[str, Any] = {"file": "?", "name": "?", "type": "text"}
_KINDS = frozenset({"attribute", "events", "expected", "rank", "derived"})


def parse_dataset(text: str, origin: str) -> Dataset:
    """Return the data set that the TOML `text` declares.

    Raises
    ------
    DeclarationError
        With every fault at once, each with its line, its key and what to do about it.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line, column = syntax_error(error, text)
        raise DeclarationError(
            _("The declaration is not valid TOML: {reason}").format(reason=reason),
            where=_("{file} line {line}, column {column}").format(
                file=origin, line=line, column=column
            ),
            fix=_('Write key = value; texts go between quotes: file = "orders".'),
        ) from None
    dataset, faults = _read(content)
    if faults or dataset is None:
        raise declaration_error(faults, text, origin)
    if dataset.features:
        return dataset
    return dataset.model_copy(update={"features": default_features(dataset)})


def _read(content: dict[str, Any]) -> tuple[Dataset | None, list[Fault]]:
    """Return the data set, and all faults: of form, and between the parts that have none."""
    faults: list[Fault] = []
    left = copy.deepcopy(content)
    for _attempt in range(_ATTEMPTS):
        try:
            dataset = Dataset.model_validate(left)
        except ValidationError as error:
            found = [_fault_of_form(one, left) for one in error.errors(include_url=False)]
            faults += found
            if not all(_take_out(left, fault.place) for fault in found):
                return None, _once(faults)
        else:
            doubtful = frozenset(fault.place[:4] for fault in faults)
            return dataset, _once([*faults, *contradictions(dataset, doubtful)])
    return None, _once(faults)


def _once(faults: Iterable[Fault]) -> list[Fault]:
    return list(dict.fromkeys(faults))


def _fault_of_form(error: Mapping[str, Any], content: Any) -> Fault:
    """Return what pydantic found, in words that say what to do."""
    place = _without_kinds(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _fault_of_key(place, _keys_beside(error["loc"]))
    if kind == "value_error":
        return Fault(place, str(context.get("error", error["msg"])))
    expected = context.get("expected") or context.get("expected_tags")
    if kind.startswith("union_tag"):
        place = (*place, "kind")
        expected = expected or ", ".join(sorted(_KINDS))
    # Bounds, for the most part, are left; pydantic says them shortly, and in English.
    fix = _form_fixes().get(kind, error["msg"])
    if expected:
        fix = _("write one of: {expected}").format(expected=str(expected).replace("'", ""))
    given = _given(content, place)
    if given is None:
        return Fault(place, _("is missing"), fix if expected else _("add it"))
    return Fault(place, _("is {value!r}").format(value=given), fix)


def _fault_of_key(place: Place, known: list[str]) -> Fault:
    nearest = suggest(str(place[-1]), known)
    fix = _("take it out")
    if nearest:
        fix = _("did you mean {nearest!r}?").format(nearest=nearest)
    elif known:
        fix = _("there are: {names}").format(names=", ".join(known))
    return Fault(place, _("there is no such key"), fix)


def _form_fixes() -> dict[str, str]:
    """Return what to write, by pydantic's type of error."""
    text, whole = _("write a text, between quotes"), _("write a whole number, without quotes")
    truth, number = _("write true or false, without quotes"), _("write a number, without quotes")
    table, one = _("write a table: {{ key = value }}").format(), _("write one character")
    return {
        "string_type": text,
        "bool_type": truth,
        "bool_parsing": truth,
        "int_type": whole,
        "int_parsing": whole,
        "int_from_float": whole,
        "float_type": number,
        "float_parsing": number,
        "tuple_type": _("write a list: [...]"),
        "dict_type": table,
        "model_type": table,
        "model_attributes_type": table,
        "string_too_short": one,
        "string_too_long": one,
    }


def _without_kinds(location: Iterable[str | int]) -> Place:
    """Return a place as the text has it, without the names of the models that pydantic adds."""
    parts = list(location)
    place: list[str | int] = []
    for number, part in enumerate(parts):
        after_feature = number == 2 and parts[0] == "features" and part in _KINDS
        # A union of types names the type that was tried.
        tried = isinstance(part, str) and (part in {"str", "int", "bool", "float"} or "[" in part)
        if not after_feature and not tried:
            place.append(part)
    return tuple(place)


def _keys_beside(location: Iterable[str | int]) -> list[str]:
    """Return the keys that may stand where an unknown one stands."""
    from vigie.dataset.reference import keys_at

    return keys_at(tuple(location)[:-1])


def _given(content: Any, place: Place) -> Any:
    for part in place:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return None
    return content


def _take_out(content: dict[str, Any], place: Place) -> bool:
    """Take the faulty part out, so that the rest can be looked at; whether that was possible."""
    if place[:1] == ("features",) and len(place) > 1:
        # A feature that can't be read makes room for one that says nothing, and keeps its number.
        number = int(place[1])
        content["features"][number] = {
            "kind": "derived",
            "name": f"vigie_{number}",
            "expression": "1",
            "label": {"en": "?", "fr": "?"},
        }
        return True
    holder: Any = content
    for part in place[:-1]:
        holder = holder[part]
    last = place[-1] if place else ""
    if not isinstance(holder, dict):
        return False
    if place[:2] == ("cohort", "label"):
        content["cohort"]["label"] = {"positive": "true", "known": "true"}
    elif last in _STAND_IN:
        holder[last] = _STAND_IN[str(last)]
    elif last in holder:
        del holder[last]
    else:
        return False
    return True


def declaration_error(faults: list[Fault], text: str, origin: str) -> DeclarationError:
    """Return the error that names each fault with its line."""
    places = toml_places(text)
    lines = {fault: line_of(places, fault.place) or 1 for fault in faults}
    ordered = sorted(faults, key=lambda fault: lines[fault])

    def where(fault: Fault) -> str:
        return _("{file} line {line}").format(file=origin, line=lines[fault])

    def what(fault: Fault) -> str:
        key = ".".join(str(part) for part in fault.place)
        return f"{key}: {fault.what}" if key else fault.what

    if len(ordered) == 1:
        one = ordered[0]
        return DeclarationError(what(one), where=where(one), fix=one.fix or None)
    head = ngettext(
        "{count} thing in the declaration does not hold:",
        "{count} things in the declaration do not hold:",
        len(ordered),
    )
    said = [
        f"  {where(one)}: {what(one)}" + (f" ({one.fix})" if one.fix else "") for one in ordered
    ]
    return DeclarationError(
        "\n".join([head.format(count=len(ordered)), *said]),
        where=origin,
        fix=_("Correct these lines and run the same command again."),
    )


def declared_names() -> tuple[str, ...]:
    """Return the names of the declarations that vigie ships."""
    folder = resources.files("vigie.dataset") / "declared"
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in folder.iterdir()
            if entry.name.endswith(".toml")
        )
    )


def read_declaration(name_or_path: str, project: Path) -> tuple[str, str]:
    """Return the text of a declaration and where it comes from.

    `name_or_path` is the name of a shipped declaration, or a TOML file (relative to `project`).
    """
    if name_or_path in declared_names():
        entry = resources.files("vigie.dataset") / "declared" / f"{name_or_path}.toml"
        return entry.read_text("utf-8"), f"vigie/dataset/declared/{name_or_path}.toml"
    path = project / name_or_path
    if path.is_file():
        return path.read_text("utf-8"), str(name_or_path)
    nearest = suggest(name_or_path, declared_names())
    raise DeclarationError(
        _("There is no data set {name!r}.").format(name=name_or_path),
        where="dataset",
        fix=_("Name one of {names}, or a TOML file of the project.").format(
            names=", ".join(declared_names())
        )
        + (" " + _("Did you mean {nearest!r}?").format(nearest=nearest) if nearest else ""),
    )
