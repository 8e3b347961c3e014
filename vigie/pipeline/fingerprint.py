"""What decides a step's result, as one value that can be compared part by part.

Two fingerprints with the same digest promise the same result; where they differ, their parts say
what changed.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import json
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import Path, PurePath
from types import CodeType
from typing import Any

from vigie.pipeline.artifacts import StatCache
from vigie.pipeline.step import Step

PACKAGE = "vigie"
EXCLUDED_MODULES = (
    "vigie.errors",
    "vigie.i18n",
    "vigie.cli",
    "vigie.names",
    "vigie.settings",
    "vigie.settings_schema",
    "vigie.settings_sources",
    "vigie.pipeline",
)
"""Modules (with all that is inside them) that decide no result: speech, wiring, bookkeeping."""

MASK = "***"
_SECRET_KEY = re.compile(r"password|passwd|secret|token|credential|api_?key", re.IGNORECASE)
_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that decides one step's result; `digest` is the sha256 of its canonical JSON.

    Parameters
    ----------
    step, version
        The step and its hand-raised version.
    params
        Plain JSON values of the declared settings, passwords masked: they decide no result.
    code
        Digest of each module whose code counts.
    libraries
        Version of each library that counts; None where it is not installed.
    inputs
        State of each input; None where it is missing.
    """

    step: str
    version: int
    params: Mapping[str, Any]
    code: Mapping[str, str]
    libraries: Mapping[str, str | None]
    inputs: Mapping[str, str | None]
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        text = canonical_json({name: getattr(self, name) for name in _PARTS})
        object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest())

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_record(self) -> dict[str, Any]:
        """Return the parts and the digest as plain JSON values."""
        return {name: getattr(self, name) for name in _PARTS} | {"digest": self.digest}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fingerprint:
        """Build it again from ``to_record``; the digest is computed, not believed."""
        return cls(**{name: record[name] for name in _PARTS})


_PARTS = ("step", "version", "params", "code", "libraries", "inputs")


def fingerprint(
    step: Step,
    params: Mapping[str, Any],
    code: Mapping[str, str],
    libraries: Mapping[str, str | None],
    input_states: Mapping[str, str | None],
) -> Fingerprint:
    """Return the fingerprint of `step` from what it declares; other entries do not count.

    Raises
    ------
    KeyError
        A declared param or input has no value here.
    TypeError
        A param's value has no canonical JSON, or is a secret.
    """
    return Fingerprint(
        step=step.name,
        version=step.version,
        params={key: _param(key, params[key]) for key in step.params},
        code=dict(code),
        libraries={name: libraries[name] for name in step.libraries},
        inputs={name: input_states[name] for name in step.inputs},
    )


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def mask_passwords(text: str) -> str:
    """Return `text` with the password of every URL in it masked.

    >>> mask_passwords("postgresql://ann:p4ss@db/x")
    'postgresql://ann:***@db/x'
    """
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", text)


def _param(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key.rpartition(".")[2]) and value is not None:
        return MASK
    if isinstance(value, Mapping):
        return {str(name): _param(str(name), inner) for name, inner in value.items()}
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return `value` in the types of JSON."""
    plain: Any
    match value:
        case Enum():
            plain = _plain(value.value)
        case str():
            plain = mask_passwords(value)
        case None | bool() | int() | float():
            plain = value
        case PurePath():
            plain = value.as_posix()
        case date():
            plain = value.isoformat()
        case timedelta():
            plain = value.total_seconds()
        case Mapping():
            plain = {str(name): _param(str(name), inner) for name, inner in value.items()}
        case list() | tuple():
            plain = [_plain(inner) for inner in value]
        case set() | frozenset():
            plain = sorted((_plain(inner) for inner in value), key=canonical_json)
        case _ if is_dataclass(value) and not isinstance(value, type):
            plain = _plain(asdict(value))
        case _:
            raise TypeError(f"{type(value).__name__} cannot be part of a fingerprint")
    return plain


# --- libraries -------------------------------------------------------------------------------


def library_versions(names: Iterable[str]) -> dict[str, str | None]:
    """Return each distribution's version, None where it is not installed.

    ``"python"`` stands for the interpreter.
    """
    return {name: _library_version(name) for name in names}


@functools.cache
def _library_version(name: str) -> str | None:
    import importlib.metadata

    if name == "python":
        return platform.python_version()
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    # Its own way to the version reads the project's whole description as if it were an e-mail.
    version = _VERSION.search(found.read_text("METADATA") or "")
    return version[1] if version else found.version


# --- code ------------------------------------------------------------------------------------


def code_digests(step: Step, *, cache: StatCache | None = None) -> dict[str, str]:
    """Return the digest of every module whose code decides the step's result."""
    return CodeReader(cache=cache).digests(step)


class CodeReader:
    """Finds the modules that steps are made of and digests their code.

    A module's source is read once in a reader's life and never again: one reader made when the
    process starts stands for the code that the process runs, even while somebody edits the files.
    (Were the file read later than the module was imported, new code would be recorded as the
    maker of old code's result.)

    Parameters
    ----------
    cache
        Remembers parsed files between processes.
    package
        Imports are followed inside this package.
    excluded
        Modules, with all inside them, that do not count; the step's own modules always do.
    """

    def __init__(
        self,
        *,
        cache: StatCache | None = None,
        package: str = PACKAGE,
        excluded: tuple[str, ...] = EXCLUDED_MODULES,
    ) -> None:
        self.cache = cache
        self.package = package
        self.excluded = excluded
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}
        self._sources: dict[str, tuple[str, list[str]]] = {}

    def digests(self, step: Step) -> dict[str, str]:
        """Return digest by module name, sorted by name.

        Raises
        ------
        ModuleNotFoundError
            The step names a module that has no Python source.
        """
        roots = [module_of(step.run), *step.modules]
        digests: dict[str, str] = {}
        waiting = list(roots)
        while waiting:
            module = waiting.pop()
            if module in digests or (module not in roots and not self._counts(module)):
                continue
            spec = self._spec(module)
            if spec is None or not _has_source(spec):
                if module in roots:
                    raise ModuleNotFoundError(
                        f"step {step.name!r}: no source of the module {module!r}", name=module
                    )
                continue
            digest, imports = self._read(module, spec)
            digests[module] = digest
            waiting.extend(self._resolved(module, spec, imports))
        return dict(sorted(digests.items()))

    def _counts(self, module: str) -> bool:
        return _is_inside(module, self.package) and not any(
            _is_inside(module, name) for name in self.excluded
        )

    def _spec(self, module: str) -> importlib.machinery.ModuleSpec | None:
        """Find a module without importing it or the packages around it."""
        if module not in self._specs:
            self._specs[module] = self._find(module)
        return self._specs[module]

    def _find(self, module: str) -> importlib.machinery.ModuleSpec | None:
        parent, _dot, _name = module.rpartition(".")
        if not parent:
            loaded = sys.modules.get(module)
            if loaded is not None and loaded.__spec__ is not None:
                return loaded.__spec__
            return importlib.util.find_spec(module)
        around = self._spec(parent)
        if around is None or around.submodule_search_locations is None:
            return None
        return importlib.machinery.PathFinder.find_spec(module, around.submodule_search_locations)

    def _read(self, module: str, spec: importlib.machinery.ModuleSpec) -> tuple[str, list[str]]:
        if module not in self._sources:
            file = Path(spec.origin or "")
            read = read_module if self.cache is None else self._cached
            digest, imports = read(file)
            self._sources[module] = (digest, list(imports))
        return self._sources[module]

    def _cached(self, file: Path) -> list[Any]:
        assert self.cache is not None
        value: list[Any] = self.cache.value(file, read_module)
        return value

    def _resolved(
        self, module: str, spec: importlib.machinery.ModuleSpec, imports: list[str]
    ) -> Iterator[str]:
        """Turn import texts (``"..x:y"``: y from x, two levels up) into modules' names."""
        is_package = spec.submodule_search_locations is not None
        package = module if is_package else module.rpartition(".")[0]
        for text in imports:
            source, _colon, name = text.partition(":")
            base = _absolute(source, package)
            if not _is_inside(base, self.package):
                continue
            inner = f"{base}.{name}"
            yield inner if name and self._spec(inner) is not None else base


CODE_CACHE_KIND = f"code-2-python-{sys.version_info.major}.{sys.version_info.minor}"
"""The kind for a ``StatCache`` of parsed modules: what code compiles to depends on Python."""


def read_module(file: Path) -> list[Any]:
    """Return the digest of the file's code and what it imports: ``[digest, imports]``.

    Of the code as Python compiles it, without docstrings and lines: comments and layout don't
    count. (To write the tree out as text again takes more than twice as long.)
    """
    source = file.read_bytes()
    tree = ast.parse(source, filename=str(file))
    # Calls are looked for only where there can be one: they may stand anywhere in an expression.
    calls = b"import_module" in source or b"__import__" in source
    imports = sorted(set(_imports(tree, calls=calls)))
    _drop_docstrings(tree)
    code = compile(tree, file.name, "exec", dont_inherit=True, optimize=0)
    return [hashlib.sha256(repr(_content(code)).encode()).hexdigest(), imports]


def _content(value: object) -> object:
    """Return what decides how code behaves, the same in every process."""
    if isinstance(value, CodeType):
        return (
            value.co_name,
            value.co_argcount,
            value.co_posonlyargcount,
            value.co_kwonlyargcount,
            value.co_flags,
            value.co_code,
            value.co_exceptiontable,
            value.co_names,
            value.co_varnames,
            value.co_freevars,
            value.co_cellvars,
            [_content(one) for one in value.co_consts],
        )
    if isinstance(value, frozenset):
        # In the order of hashes, which are other ones in each process.
        return "set", sorted(repr(_content(one)) for one in value)
    if isinstance(value, tuple):
        return tuple(_content(one) for one in value)
    return repr(value)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all statements (and handlers, and cases) inside it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(_parts(one, calls=False))


def _drop_docstrings(tree: ast.Module) -> None:
    for node in _statements(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            needs_one = len(node.body) == 1 and not isinstance(node, ast.Module)
            node.body[:1] = [ast.copy_location(ast.Pass(), node.body[0])] if needs_one else []


def _imports(node: ast.AST, *, calls: bool) -> Iterator[str]:
    """Yield what a tree imports, wherever it does so, but not what only type checkers see."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            source = "." * level + (module or "")
            yield from (f"{source}:{alias.name}" for alias in names)
        case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _is_import_call(node.func):
            yield name
    children: Iterable[ast.AST] = _parts(node, calls=calls)
    if isinstance(node, ast.If) and _is_type_checking(node.test):
        children = node.orelse
    for child in children:
        yield from _imports(child, calls=calls)


def _parts(node: ast.AST, *, calls: bool) -> Iterator[ast.AST]:
    if calls:
        yield from ast.iter_child_nodes(node)
        return
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, part, ())
        # A lambda's body is no list of statements.
        yield from inner if isinstance(inner, list) else ()


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"import_module", "__import__"}


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _absolute(source: str, package: str) -> str:
    name = source.lstrip(".")
    level = len(source) - len(name)
    if not level:
        return name
    parts = package.split(".")
    around = ".".join(parts[: len(parts) - level + 1])
    return f"{around}.{name}" if name else around


def module_of(run: Callable[..., Any]) -> str:
    """Return the name of the module that a step's function is of."""
    while isinstance(run, functools.partial):
        run = run.func
    module = getattr(run, "__module__", None) or type(run).__module__
    return str(module)


def _has_source(spec: importlib.machinery.ModuleSpec) -> bool:
    return spec.has_location and spec.origin is not None and spec.origin.endswith(".py")


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
