"""Settings: defaults < ``vigie.toml`` < ``.env`` < environment < flags, each with its origin.

Every layer is checked as a whole, also where a higher one goes before it: a fault that sleeps in
a file is better told now. What is wrong is told all at once, with its place, and never with a
secret's value.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from vigie.errors import SettingsError
from vigie.i18n import _, ngettext
from vigie.settings_schema import (
    ADDRESS_PARTS,
    DATABASE_KEYS,
    NONE_WORD,
    ONE_KEY,
    SECRET_KEYS,
    Settings,
    expected,
    leaves,
    none_word,
    readings,
    replace_in_url,
    show,
)
from vigie.settings_sources import (
    Given,
    Layer,
    Origin,
    Problem,
    nearest_key,
    read_dotenv,
    read_environment,
    read_flags,
    read_modes,
    read_toml,
)

__all__ = ["LoadedSettings", "Origin", "SettingRow", "Settings", "find_project", "load_settings"]

CONFIG_NAME = "vigie.toml"
DOTENV_NAME = ".env"
DEFAULT = Origin("default", "default")
DEFAULT_HOST = "localhost"
# The guide's configuration, for callers without one of their own.
DEFAULT_MODES: Mapping[str, Any] = MappingProxyType(
    {
        "dev": {"sample_size": 5000, "n_splits_cv": 3, "model_params": {"n_estimators": 100}},
        "prod": {"sample_size": None, "n_splits_cv": 5, "model_params": {"n_estimators": 200}},
    }
)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting as it is shown: the value as a person writes it, secrets masked."""

    key: str
    value: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """All settings of a run, checked.

    Parameters
    ----------
    values
        The settings themselves; secrets are ``SecretStr``.
    origins
        Where each comes from, by dotted key.
    project
        Root folder, which relative paths start from.
    config_file
        The TOML file that was read, if there was one.
    notes
        What a person should know about how they were read, in that person's language.
    """

    values: Settings
    origins: Mapping[str, Origin]
    project: Path
    config_file: Path | None
    notes: tuple[str, ...]

    def get(self, dotted_key: str) -> Any:
        """Return the value of a setting, or a whole section as a plain dict.

        A secret is a ``SecretStr``: ``get_secret_value()`` says it.

        Raises
        ------
        KeyError
            If there is no such setting.
        """
        value: Any = self.values
        for name in dotted_key.split("."):
            if not isinstance(value, BaseModel) or name not in type(value).model_fields:
                nearest = nearest_key(dotted_key)
                message = f"no setting {dotted_key!r}, the nearest is {nearest!r}"
                raise KeyError(message)
            value = getattr(value, name)
        return value.model_dump() if isinstance(value, BaseModel) else value

    def rows(self) -> list[SettingRow]:
        """Return every setting as it is shown by ``vigie config`` and in the run record."""
        return [SettingRow(key, self._shown(key), self.origins[key]) for key in leaves()]

    @property
    def database_configured(self) -> bool:
        """Whether an own server is to be used, not the embedded one."""
        return self.values.database.url is not None or self.values.database.host is not None

    def _shown(self, key: str) -> str:
        if key in DATABASE_KEYS[1:] and self.values.database.url is not None:
            return _("(in database.url)")
        return show(key, self.get(key))


def find_project(start: Path) -> Path:
    """Return the nearest folder from `start` upwards that holds a vigie.toml, else `start`."""
    absolute = start.absolute()
    for folder in (absolute, *absolute.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    return start


def project_option(project: Path) -> str:
    """Return what a command typed here needs to find the project; nothing where it does anyway."""
    here = Path.cwd()
    if find_project(here).resolve() == project.resolve():
        return ""
    return f" --project {shlex.quote(os.path.relpath(project, here))}"


def load_settings(
    project: Path,
    *,
    config_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    default_modes: Mapping[str, Any] = DEFAULT_MODES,
    default_modes_origin: str = "default",
) -> LoadedSettings:
    """Read all layers, check them and put them together.

    Parameters
    ----------
    project
        Root folder; its vigie.toml and .env are read where they exist.
    config_file
        TOML file to read instead of vigie.toml; it has to exist.
    flags
        What the command line gives, by dotted key.
    environ
        Environment variables; those of the process if None.
    default_modes, default_modes_origin
        Defaults of ``modes``, and what to call the place that they come from.

    Raises
    ------
    SettingsError
        If a file can't be read, or with everything that is wrong in any layer.
    """
    path = _config_path(project, config_file)
    layers = [read_modes(default_modes, default_modes_origin)]
    if path is not None:
        layers.append(read_toml(path, _shown_path(path, project)))
    layers.append(read_dotenv(project / DOTENV_NAME))
    layers.append(read_environment(os.environ if environ is None else environ))
    layers.append(read_flags(flags or {}))
    problems = [problem for layer in layers for problem in _check(layer)]
    if problems:
        raise _as_error(problems)
    given, notes = _merge(layers)
    return LoadedSettings(
        values=_build(given),
        origins=MappingProxyType({key: one.origin for key, one in given.items()}),
        project=project,
        config_file=path,
        notes=(*(note for layer in layers for note in layer.notes), *notes),
    )


def _config_path(project: Path, config_file: Path | None) -> Path | None:
    if config_file is None:
        own = project / CONFIG_NAME
        return own if own.is_file() else None
    if not config_file.is_file():
        raise SettingsError(
            _("The settings file does not exist."),
            where=str(config_file),
            fix=_("Name another one with --config, or leave it out to use vigie.toml."),
        )
    return config_file


def _shown_path(path: Path, project: Path) -> str:
    absolute, root = path.absolute(), project.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)


# --- checks ------------------------------------------------------------------------------------


def _check(layer: Layer) -> Iterator[Problem]:
    """Read the layer's texts in place, and yield everything that is wrong with it."""
    yield from layer.problems
    for key, given in layer.values.items():
        faults: tuple[str, ...] = ()
        value = _without_words(key, given.value)
        if layer.textual and isinstance(value, str):
            value, faults = _read_value(key, value)
        else:
            faults = _faults(key, value)
        if faults:
            yield _problem(key, value, faults, given.origin)
        else:
            layer.values[key] = Given(value, given.origin)


def _without_words(key: str, value: Any) -> Any:
    """Return None where a word stands for it."""
    word = none_word(key)
    is_word = word is not None and isinstance(value, str)
    return None if is_word and value.strip().lower() in (word, NONE_WORD) else value


def _read_value(key: str, text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the first reading of `text` that the setting takes, else its narrowest one."""
    if key in SECRET_KEYS:
        return text, _faults(key, text)
    tried = [(value, _faults(key, value)) for value in readings(text.strip())]
    return next((one for one in tried if not one[1]), tried[0])


def _faults(key: str, value: Any) -> tuple[str, ...]:
    """Return pydantic's types of error for one value on its own."""
    try:
        Settings.model_validate(_nested({key: value}), context=ONE_KEY)
    except ValidationError as error:
        return tuple(fault["type"] for fault in error.errors(include_input=False))
    return ()


def _problem(key: str, value: Any, faults: Sequence[str], origin: Origin) -> Problem:
    # Anything of the database's may be a secret that was written into the wrong place.
    shown = key if key.startswith("database.") else f"{key} = {_quoted(value)}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and any(fault.startswith(("greater_", "less_")) for fault in faults):
        what = _("{setting} is out of range.")
    elif isinstance(value, str) and not all(fault.endswith("_type") for fault in faults):
        what = _("{setting} is not a value that it can take.")
    else:
        what = _("{setting} is of the wrong type.")
    fix = _("Expected: {expected}.").format(expected=expected(key))
    if origin.layer == CONFIG_NAME and isinstance(value, str) and not _read_value(key, value)[1]:
        fix += " " + _("Write it without quotes.")
    return Problem(what.format(setting=shown), str(origin), fix)


def _quoted(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return "{…}" if isinstance(value, Mapping) else "[…]"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 60 else f"{text[:59]}…"


def _as_error(problems: Sequence[Problem]) -> SettingsError:
    if len(problems) == 1:
        return SettingsError(problems[0].what, where=problems[0].where, fix=problems[0].fix)
    head = ngettext("{count} setting is wrong:", "{count} settings are wrong:", len(problems))
    lines = [f"  - {one.where}: {one.what} {one.fix}" for one in problems]
    return SettingsError("\n".join([head.format(count=len(problems)), *lines]))


# --- putting together --------------------------------------------------------------------------


def _merge(layers: Sequence[Layer]) -> tuple[dict[str, Given], list[str]]:
    """Return each setting from the highest layer that has it, and what to say about it."""
    given: dict[str, Given] = {key: Given(value, DEFAULT) for key, value in _flat(Settings(), "")}
    for layer in layers:
        given |= {key: one for key, one in layer.values.items() if key not in DATABASE_KEYS}
    address, notes = _merge_address(layers)
    return given | address, notes


def _merge_address(layers: Sequence[Layer]) -> tuple[dict[str, Given], list[str]]:
    """Return the database's address, either as a URL or in parts.

    The highest layer with a URL or a host says which server; a URL goes before a host beside it.
    Parts of higher layers (a password from the environment, say) are put into the URL. A host
    never inherits anything from the URL of a lower layer: its password is another server's.
    """
    notes: list[str] = []
    for layer in layers:
        beside = [layer.values[key] for key in DATABASE_KEYS[1:] if key in layer.values]
        if "database.url" in layer.values and beside:
            notes.append(
                _("{url} goes before {others}: they are not used.").format(
                    url=layer.values["database.url"].origin,
                    others=", ".join(str(one.origin) for one in beside),
                )
            )
    deciding = [
        position
        for position, layer in enumerate(layers)
        if not layer.values.keys().isdisjoint(("database.url", "database.host"))
    ]
    if deciding and "database.url" in layers[deciding[-1]].values:
        url = layers[deciding[-1]].values["database.url"]
        parts = _highest(layers[deciding[-1] + 1 :])
        return {"database.url": _url_with(url, parts)}, notes
    parts = _highest(layers)
    # The default port written out, as in an uncommented vigie.toml, asks for no server.
    telling = any(one.value != leaves()[key].default for key, one in parts.items())
    if telling and "database.host" not in parts:
        notes.append(
            _("{given} without a host: {host} is used.").format(
                given=", ".join(str(one.origin) for one in parts.values()), host=DEFAULT_HOST
            )
        )
        parts["database.host"] = Given(DEFAULT_HOST, DEFAULT)
    return parts, notes


def _highest(layers: Sequence[Layer]) -> dict[str, Given]:
    """Return each part of the address from the highest of `layers` that has it."""
    found: dict[str, Given] = {}
    for layer in layers:
        found |= {key: layer.values[key] for key in DATABASE_KEYS[1:] if key in layer.values}
    return found


def _url_with(url: Given, parts: Mapping[str, Given]) -> Given:
    if not parts:
        return url
    names = {f"database.{part}": part for part in ADDRESS_PARTS}
    replaced = replace_in_url(url.value, {names[key]: one.value for key, one in parts.items()})
    places = [url.origin.detail, *(one.origin.detail for one in parts.values())]
    return Given(replaced, Origin(url.origin.layer, ", ".join(places)))


def _build(given: Mapping[str, Given]) -> Settings:
    """Return the checked whole; here settings are held against each other."""
    # A default that nobody asked for gives way: max_samples without bootstrap.
    asked = {
        key: one.value
        for key, one in given.items()
        if not (key.endswith(".max_samples") and one.origin == DEFAULT)
    }
    try:
        return Settings.model_validate(_nested(asked))
    except ValidationError as error:
        faults = error.errors(include_input=False)
    problems = []
    for fault in faults:
        section = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "low_above_high":
            names, what = ("low", "high"), _("{first} is above {second}.")
            fix = _("Raise {second} or lower {first}.")
        elif fault["type"] == "two_thresholds":
            names = (fault["ctx"]["first"], fault["ctx"]["second"])
            what = _("{first} does not go with {second}.")
            fix = _("Choose the threshold by one of {first} and {second}.")
        elif fault["type"] == "dask_without_scheduler":
            names, what = ("joblib", "dask_scheduler"), _("{first} does not go with {second}.")
            fix = _("Name the scheduler's address in {second}, or take another {first}.")
        else:
            names, what = ("max_samples", "bootstrap"), _("{first} does not go with {second}.")
            fix = _("Change one of {first} and {second}.")
        keys = [f"{section}.{name}" for name in names]
        first, second = (f"{key} = {show(key, given[key].value)}" for key in keys)
        problems.append(
            Problem(
                what.format(first=first, second=second),
                ", ".join(str(given[key].origin) for key in keys),
                fix.format(first=keys[0], second=keys[1]),
            )
        )
    raise _as_error(problems)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, name = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def _flat(model: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
