"""What a declaration may say, read off the models: for the JSON Schema and the reference page."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vigie.dataset.spec import Dataset

_MODULES = ("base", "tables", "cohort", "groups", "spec")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of declarations, with a description of each key."""
    schema = Dataset.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described = field_descriptions()
    for name, part in {"Dataset": schema, **schema["$defs"]}.items():
        for key, value in part.get("properties", {}).items():
            if (name, key) in described:
                value["description"] = described[name, key]
    # A list alone is short for its columns.
    sensitive = schema["properties"]["sensitive"]
    listed = {"type": "array", "items": {"type": "string"}}
    schema["properties"]["sensitive"] = {
        "anyOf": [{"$ref": sensitive.get("$ref", "#/$defs/Sensitive")}, listed],
        "description": described["Dataset", "sensitive"],
    }
    return schema


@functools.cache
def field_descriptions() -> dict[tuple[str, str], str]:
    """Return the text below each field of the models, by class and field."""
    found: dict[tuple[str, str], str] = {}
    for name in _MODULES:
        module = importlib.import_module(f"vigie.dataset.{name}")
        for node in ast.parse(inspect.getsource(module)).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    found[node.name, field.target.id] = " ".join(str(text.value.value).split())
    return found


def keys_at(location: Iterable[str | int]) -> list[str]:
    """Return the keys that may stand at a place of the declaration."""
    annotation: Any = Dataset
    for part in location:
        annotation = _inside(annotation, part)
    models = list(_models(annotation))
    return [key for model in models[:1] for key in model.model_fields]


def _inside(annotation: Any, part: str | int) -> Any:
    """Return what stands at `part` of something."""
    if isinstance(part, int):
        return annotation
    models = list(_models(annotation))
    if len(models) > 1:
        # The kind of a feature, which pydantic puts into its places.
        return next((one for one in models if part in get_args(_type_of(one, "kind"))), None)
    if get_origin(annotation) is dict:
        return get_args(annotation)[-1]
    if models and part in models[0].model_fields:
        return models[0].model_fields[part].annotation
    return None


def _type_of(model: type[BaseModel], key: str) -> Any:
    return model.model_fields[key].annotation if key in model.model_fields else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for argument in get_args(annotation):
        yield from _models(argument)


# --- the page --------------------------------------------------------------------------------


def reference_page() -> str:
    """Return the reference page of declarations, in Markdown."""
    lines = [
        "# The declaration",
        "",
        "`dataset.toml` says what the tables are, what is predicted and from what. This page is",
        "made from the code (`vigie schema --markdown`); `vigie schema` prints the same as a JSON",
        "Schema, with which an editor completes and checks a declaration whose first line is",
        "`#:schema ./dataset.schema.json`.",
        "",
        "Expressions are SQL in DuckDB's dialect. A key without a default must be there.",
        "",
    ]
    for model, heading in _sections():
        lines += [f"## {heading}", "", inspect.cleandoc(model.__doc__ or ""), ""]
        lines += ["| key | type | default | |", "| --- | --- | --- | --- |"]
        for key, field in model.model_fields.items():
            text = field_descriptions().get((model.__name__, key), "")
            cells = [f"`{key}`", _type_text(field.annotation), _default_text(field), text]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _sections() -> Iterator[tuple[type[BaseModel], str]]:
    """Yield each model once, with the key under which it stands."""
    waiting: list[tuple[type[BaseModel], str]] = [(Dataset, "The file")]
    seen: set[type[BaseModel]] = set()
    while waiting:
        model, heading = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield model, heading
        path = "" if model is Dataset else heading.strip("`[]") + "."
        below = []
        for key, field in model.model_fields.items():
            inner = path + key + (".NAME" if get_origin(field.annotation) is dict else "")
            for one in _models(field.annotation):
                kinds = get_args(_type_of(one, "kind"))
                listed = get_origin(field.annotation) is tuple
                text = f"[[{inner}]]" if listed else f"[{inner}]"
                said = f' kind = "{kinds[0]}"' if kinds else ""
                below.append((one, f"`{text}{said}`"))
        waiting = below + waiting


def _type_text(annotation: Any) -> str:
    if hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    origin, arguments = get_origin(annotation), get_args(annotation)
    plain = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    if annotation in plain:
        return plain[annotation]
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin in (tuple, dict):
        return ("list of " if origin is tuple else "table of ") + _type_text(
            arguments[0 if origin is tuple else 1]
        )
    names = [_type_text(one) for one in arguments if one is not type(None)]
    return " or ".join(dict.fromkeys(names)) or "table"


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "–"
    default = field.get_default(call_default_factory=True)
    if default in (None, (), {}) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return "`[" + ", ".join(f'"{one}"' for one in default) + "]`"
    return f"`{default!r}`".replace("'", '"')
