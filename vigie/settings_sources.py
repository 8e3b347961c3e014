"""Where settings come from: TOML files, ``.env``, environment variables, flags.

Each source is read into a ``Layer``: its values by dotted key with their origins, and what is
wrong with it. Nothing here decides which layer goes before which.
"""

from __future__ import annotations

import os
import shlex
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from vigie.errors import SettingsError
from vigie.i18n import _
from vigie.names import suggest
from vigie.settings_schema import leaves, sections
from vigie.toml_places import line_of, syntax_error, toml_places

LayerName = Literal["flag", "environment", ".env", "vigie.toml", "default"]
PREFIX = "VIGIE_"
VARIABLES = {
    "DATABASE_URL": "database.url",
    "DB_HOST": "database.host",
    "DB_PORT": "database.port",
    "DB_NAME": "database.name",
    "DB_USER": "database.user",
    "DB_PASSWORD": "database.password",
}
# scikit-learn's names for settings of the whole run.
ELSEWHERE = {"random_state": "seed", "n_jobs": "engine.threads"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of a setting comes from.

    Parameters
    ----------
    layer
        The kind of source.
    detail
        The place in it: ``"vigie.toml line 7"``, ``"--cutoff-days"``, ``"VIGIE_SEED"``.
    """

    layer: LayerName
    detail: str

    def __str__(self) -> str:
        if self.layer == "environment":
            return _("environment {variable}").format(variable=self.detail)
        return _("default") if self.detail == "default" else self.detail


@dataclass(frozen=True, slots=True)
class Given:
    """A value as a source gives it, unchecked; it may be a secret, so its repr has none."""

    value: Any = field(repr=False)
    origin: Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a setting."""

    what: str
    where: str
    fix: str


@dataclass(slots=True)
class Layer:
    """What one source says.

    ``textual`` sources hold texts only, in which numbers and truth values have yet to be read.
    """

    name: LayerName
    textual: bool = False
    values: dict[str, Given] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, key: str, value: Any, detail: str) -> None:
        """Take a value over."""
        self.values[key] = Given(value, Origin(self.name, detail))

    def add_unknown(self, key: str, where: str, *, nearest: str | None, known: str) -> None:
        """Remember a name that nobody knows; its value is not shown, it may be a secret."""
        fix = _("There are: {names}.").format(names=known)
        if nearest is not None:
            fix = _("Did you mean {nearest}?").format(nearest=nearest)
        self.problems.append(
            Problem(_("There is no setting called {key}.").format(key=key), where, fix)
        )


# --- sources -----------------------------------------------------------------------------------


def read_toml(path: Path, shown: str) -> Layer:
    """Read a settings file; `shown` is how it is called in front of people.

    Raises
    ------
    SettingsError
        If it can't be read or is no TOML.
    """
    layer = Layer("vigie.toml")
    text = _read_text(path, shown, layer)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, shown) from None
    places = toml_places(text)

    def place(key: str) -> str:
        line = line_of(places, tuple(key.split(".")))
        if line is None:
            return shown
        return _("{file} line {line}").format(file=shown, line=line)

    for key, value in _walk(tree, "", layer, place):
        # An empty text among the database's keys means none, as in .env.
        if value != "" or not key.startswith("database."):
            layer.add(key, value, place(key))
    if "database.password" in layer.values:
        layer.notes.append(
            _("{file} holds a password: .env is the place for it.").format(file=shown)
        )
    return layer


def read_dotenv(path: Path) -> Layer:
    """Read ``.env``; an absent one, or a folder of that name, gives an empty layer.

    Raises
    ------
    SettingsError
        If it can't be read.
    """
    layer = Layer(".env", textual=True)
    if not path.is_file():
        return layer
    from dotenv.parser import parse_stream

    text = _read_text(path, ".env", layer)
    variables: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            # What is there may be half of a password: the line's number has to do.
            layer.notes.append(
                _(".env line {line} is not NAME=value and was left out.").format(
                    line=binding.original.line
                )
            )
        elif binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        layer.notes.append(
            _(".env can be read by other users of this machine: chmod 600 {path}").format(
                path=shlex.quote(str(path))
            )
        )
    _take_variables(layer, variables, ".env {name}")
    return layer


def read_environment(environ: Mapping[str, str]) -> Layer:
    """Read the variables that are settings."""
    layer = Layer("environment", textual=True)
    _take_variables(layer, environ, "{name}")
    return layer


def read_flags(flags: Mapping[str, Any]) -> Layer:
    """Read what the command line gives by dotted key; None means not given."""
    layer = Layer("flag")
    for key, value in flags.items():
        flag = "--" + key.rpartition(".")[2].replace("_", "-")
        if value is None:
            continue
        if key in leaves():
            layer.add(key, value, flag)
        else:
            layer.add_unknown(key, flag, nearest=nearest_key(key), known=_names_in(""))
    return layer


def read_modes(modes: Mapping[str, Any], origin: str) -> Layer:
    """Read the defaults of both modes as ``_get_default_config`` returns them."""
    layer = Layer("default")
    for key, value in _walk({"modes": modes}, "", layer, lambda _key: origin):
        layer.add(key, value, origin)
    return layer


def _take_variables(layer: Layer, variables: Mapping[str, str], detail: str) -> None:
    by_name = VARIABLES | {variable_name(key): key for key in leaves()}
    for name, key in by_name.items():
        value = variables.get(name, "")
        if not value.strip():
            continue
        if key in layer.values:
            layer.notes.append(
                _("{winner} goes before {loser}, which means the same.").format(
                    winner=detail.format(name=name), loser=layer.values[key].origin.detail
                )
            )
        layer.add(key, value, detail.format(name=name))
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in by_name:
            key = name.removeprefix(PREFIX).replace("__", ".").lower()
            nearest = suggest(name, by_name)
            if nearest is None and (near_key := nearest_key(key)) is not None:
                nearest = variable_name(near_key)
            layer.add_unknown(
                name,
                str(Origin(layer.name, detail.format(name=name))),
                nearest=nearest,
                known=f"{variable_name('cutoff_days')}, {variable_name('modes.dev.sample_size')}…",
            )


def variable_name(key: str) -> str:
    """Return the environment variable of a dotted key.

    Examples
    --------
    >>> variable_name("modes.dev.sample_size")
    'VIGIE_MODES__DEV__SAMPLE_SIZE'
    """
    return PREFIX + key.replace(".", "__").upper()


# --- trees of keys -----------------------------------------------------------------------------


def _walk(
    tree: Mapping[str, Any], prefix: str, layer: Layer, place: Callable[[str], str]
) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each setting in `tree`; note down what has no place in it."""
    for name, value in tree.items():
        key = prefix + str(name)
        if key in leaves():
            yield key, value
        elif key not in sections():
            section = prefix.rstrip(".")
            layer.add_unknown(key, place(key), nearest=nearest_key(key), known=_names_in(section))
        elif isinstance(value, Mapping):
            yield from _walk(value, f"{key}.", layer, place)
        else:
            layer.problems.append(
                Problem(
                    _("{key} is a section, not a value.").format(key=key),
                    place(key),
                    _("Names in it: {names}.").format(names=_names_in(key)),
                )
            )


def nearest_key(key: str) -> str | None:
    """Return the setting or section that `key` was probably meant to be.

    A setting of the same name elsewhere goes first, then a similar name in the same section.

    Examples
    --------
    >>> nearest_key("modes.prod.n_estimators")
    'modes.prod.model_params.n_estimators'
    >>> nearest_key("predict.hihg")
    'predict.high'
    """
    section, _dot, name = key.rpartition(".")
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    known = [*leaves(), *sorted(sections())]
    namesakes = [other for other in known if other.rpartition(".")[2] == name]
    if namesakes:
        return max(namesakes, key=lambda other: _shared_parts(other, key))
    siblings = {
        other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section
    }
    sibling = suggest(name, siblings)
    if sibling is not None:
        return siblings[sibling]
    # In a section that there is, better the list of what it has than a guess at another.
    return None if section and siblings else suggest(key, known)


def _shared_parts(one: str, other: str) -> int:
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _pair in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _names_in(section: str) -> str:
    known = [*leaves(), *sorted(sections())]
    return ", ".join(k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == section)


# --- files -------------------------------------------------------------------------------------


def _read_text(path: Path, shown: str, layer: Layer) -> str:
    """Return a file's text without byte order mark: UTF-8, UTF-16 with its mark, else cp1252."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            _("{file} cannot be read: {reason}").format(file=shown, reason=error.strerror),
            where=str(path),
            fix=_("Make it readable for the user who runs vigie."),
        ) from None
    try:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            return raw.decode("utf-16")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        broken = error
    line = raw.count(b"\n", 0, broken.start) + 1
    place = _("{file} line {line}").format(file=shown, line=line)
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        raise SettingsError(
            _("{file} is not UTF-8.").format(file=shown),
            where=place,
            fix=_("Save it as UTF-8."),
        ) from None
    layer.notes.append(_("{place} is not UTF-8: read as Windows-1252.").format(place=place))
    return text


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, shown: str) -> SettingsError:
    reason, line, column = syntax_error(error, text)
    return SettingsError(
        _("{file} is not valid TOML: {reason}").format(file=shown, reason=reason),
        where=_("{file} line {line}, column {column}").format(file=shown, line=line, column=column),
        fix=_('Write key = value; texts go between quotes: raw_dir = "data/raw".'),
    )
