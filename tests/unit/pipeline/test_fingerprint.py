from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.pipeline.artifacts import StatCache
from vigie.pipeline.fingerprint import (
    CODE_CACHE_KIND,
    CodeReader,
    Fingerprint,
    code_digests,
    fingerprint,
    library_versions,
    mask_passwords,
    read_module,
)
from vigie.pipeline.planner import changes
from vigie.pipeline.reasons import ParamChanged
from vigie.pipeline.step import Step, StepContext


def run(_context: StepContext) -> None:
    """Do nothing."""


STEP = Step("train", "Training", run, ("features",), ("model",), ("n", "deep"), (), ("numpy",))


def make(**params: Any) -> Fingerprint:
    values = {"n": 1, "deep": {}} | params
    return fingerprint(STEP, values, {"m": "c"}, {"numpy": "2"}, {"features": "f", "other": "o"})


class TestFingerprint:
    def test_only_what_is_declared_counts(self) -> None:
        one = make(other=1)
        assert one == make(other=2)
        assert one.digest == make().digest
        assert one.inputs == {"features": "f"}

    def test_undeclared_value_is_an_error(self) -> None:
        with pytest.raises(KeyError):
            fingerprint(STEP, {"n": 1}, {}, {"numpy": "2"}, {"features": "f"})

    def test_order_of_keys_does_not_count(self) -> None:
        assert make(deep={"a": 1, "b": 2}).digest == make(deep={"b": 2, "a": 1}).digest

    def test_every_part_counts(self) -> None:
        base: dict[str, Any] = {
            "step": "s",
            "version": 1,
            "params": {"a": 1},
            "code": {"m": "1"},
            "libraries": {"l": "1"},
            "inputs": {"i": "1"},
        }
        others: list[dict[str, Any]] = [
            {"step": "t"},
            {"version": 2},
            {"params": {"a": 2}},
            {"code": {"m": "2"}},
            {"libraries": {"l": None}},
            {"inputs": {"i": None}},
        ]
        digests = {Fingerprint(**base | other).digest for other in [{}, *others]}
        assert len(digests) == len(others) + 1

    def test_survives_its_record(self) -> None:
        one = make(deep={"a": [1, 2.5, None, True]})
        again = Fingerprint.from_record(one.to_record() | {"digest": "not believed"})
        assert again == one
        assert again.digest == one.digest
        assert hash(again) == hash(one)

    def test_values_become_plain(self) -> None:
        class Colour(Enum):
            RED = "red"

        @dataclass
        class Point:
            x: int

        values = {"n": (Path("a/b"), date(2026, 7, 1), Colour.RED, {3, 1}, Point(2)), "deep": None}
        assert make(**values).params == {
            "n": ["a/b", "2026-07-01", "red", [1, 3], {"x": 2}],
            "deep": None,
        }

    @pytest.mark.parametrize("value", [object(), lambda: 0, b"x"])
    def test_what_has_no_json_is_refused(self, value: object) -> None:
        with pytest.raises(TypeError):
            make(n=value)

    def test_not_a_number_is_refused(self) -> None:
        with pytest.raises(ValueError, match="JSON"):
            make(n=float("nan"))

    def test_secrets_never_enter(self) -> None:
        from pydantic import SecretStr

        one = make(n="postgresql://ann:canary@host/db", deep={"db_password": "canary", "user": "a"})
        assert "canary" not in str(one.to_record())
        with pytest.raises(TypeError):
            make(n=SecretStr("canary"))
        step = Step("s", "S", run, params=("db.password",))
        other = fingerprint(step, {"db.password": "canary"}, {}, {}, {})
        assert "canary" not in str(other.to_record())

    def test_masking_leaves_the_rest(self) -> None:
        assert mask_passwords("a://u:p@h:1/x b://h:2/y") == "a://u:***@h:1/x b://h:2/y"

    leaf = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, "a", ""])
    tree = st.recursive(leaf, lambda t: st.lists(t) | st.dictionaries(st.sampled_from("ab"), t))

    @given(tree, tree)
    def test_digests_differ_exactly_where_a_change_is_named(self, old: Any, new: Any) -> None:
        one, two = make(n=old), make(n=new)
        assert (one.digest == two.digest) == (not list(changes(one, two)))

    def test_nested_change_is_named_by_its_dotted_key(self) -> None:
        one, two = make(deep={"a": {"b": 1}, "c": 2}), make(deep={"a": {"b": 1.0}, "c": 2})
        assert list(changes(one, two)) == [ParamChanged("deep.a.b", 1, 1.0)]


def test_library_versions() -> None:
    import numpy as np

    versions = library_versions(["numpy", "python", "no-such-distribution"])
    assert versions["numpy"] == np.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["no-such-distribution"] is None


# --- code ------------------------------------------------------------------------------------

Write = Callable[..., Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a module of the package ``lookout_{something}``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str = "") -> Path:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in [path.parent, *path.parent.parents]:
            if folder == tmp_path:
                break
            (folder / "__init__.py").touch()
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return write


def digests(package: str, *modules: str, cache: StatCache | None = None) -> dict[str, str]:
    reader = CodeReader(package=package, excluded=(f"{package}.errors", f"{package}.pipeline"))
    reader.cache = cache
    found = reader.digests(Step("s", "S", run, modules=modules))
    del found[run.__module__]
    return found


def test_imports_are_followed_wherever_and_however_they_are_written(package: Write) -> None:
    package(
        "pkg_a/models/train",
        """
        import os.path, numpy
        import pkg_a.absolute
        from pkg_a import engine
        from . import split
        from .sub import deep, VALUE
        from ..relative import thing
        from pkg_a.named import a_function
        from typing import TYPE_CHECKING
        import typing, importlib
        if TYPE_CHECKING:
            import pkg_a.only_for_types
        else:
            import pkg_a.at_run_time
        if typing.TYPE_CHECKING:
            import pkg_a.only_for_types
        def f():
            from pkg_a.inside import g
            importlib.import_module("pkg_a.by_name")
            import pkg_a.errors, pkg_a.pipeline.runner
        """,
    )
    for name in ["absolute", "engine", "relative", "named", "only_for_types", "at_run_time"]:
        package(f"pkg_a/{name}")
    for name in ["inside", "by_name", "errors", "pipeline/runner", "models/split"]:
        package(f"pkg_a/{name}")
    package("pkg_a/models/sub/__init__", "from .other import *")
    package("pkg_a/models/sub/other", "from ...far import x; VALUE = 1")
    package("pkg_a/models/sub/deep")
    package("pkg_a/far", "import pkg_a.models.train  # round and round")
    assert digests("pkg_a", "pkg_a.models.train").keys() == {
        "pkg_a.models.train",
        "pkg_a.absolute",
        "pkg_a.engine",
        "pkg_a.models.split",
        "pkg_a.models.sub",
        "pkg_a.models.sub.deep",
        "pkg_a.models.sub.other",
        "pkg_a.far",
        "pkg_a.relative",
        "pkg_a.named",
        "pkg_a.at_run_time",
        "pkg_a.inside",
        "pkg_a.by_name",
    }
    assert "pkg_a" not in sys.modules


def test_step_own_modules_count_even_where_excluded(package: Write) -> None:
    package("pkg_b/pipeline/own")
    assert digests("pkg_b", "pkg_b.pipeline.own").keys() == {"pkg_b.pipeline.own"}


def test_changed_helper_counts_and_a_comment_does_not(package: Write) -> None:
    package("pkg_c/step", "from pkg_c.helper import double")
    package("pkg_c/helper", "def double(x):\n    return 2 * x\n")
    before = digests("pkg_c", "pkg_c.step")
    package(
        "pkg_c/helper",
        '''
        """About this module."""

        def double( x ):  # twice
            """Return it twice."""
            return (2
                    * x)
        ''',
    )
    assert digests("pkg_c", "pkg_c.step") == before
    package("pkg_c/helper", "def double(x):\n    return 3 * x\n")
    after = digests("pkg_c", "pkg_c.step")
    assert after["pkg_c.step"] == before["pkg_c.step"]
    assert after["pkg_c.helper"] != before["pkg_c.helper"]


def test_body_of_only_a_docstring_stays_code(package: Write) -> None:
    empty = read_module(package("x", 'class A:\n    """Doc."""\ndef f():\n    """Doc."""\n'))
    assert empty == read_module(package("x", "class A:\n    pass\ndef f():\n    pass\n"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(x=1): pass", "def f(x=2): pass"),
        ("def f(x): return x in {1, 2}", "def f(x): return x in {1, 3}"),
        ("def f(x): return (1, True)", "def f(x): return (1, 1)"),
        ("def f(x): return x.a", "def f(x): return x.b"),
        ("def f(): return g(a=1)", "def f(): return g(b=1)"),
        ("def f():\n    try:\n        g()\n    except A: pass", "def f():\n    g()"),
        ("async def f(): pass", "def f(): pass"),
        ("f = lambda x: x", "f = lambda x: -x"),
        ("assert x", "pass"),
        ("x = 0.0", "x = -0.0"),
    ],
)
def test_what_the_code_does_counts(package: Write, before: str, after: str) -> None:
    assert read_module(package("x", before))[0] != read_module(package("x", after))[0]


def test_a_digest_is_the_same_in_every_process(package: Write) -> None:
    # Sets are constants in code, and have another order in each process.
    file = package(
        "x",
        """
        NAMES = frozenset(("d", "e"))
        def f(x):
            return x in {"a", "b", "c"}
        """,
    )
    code = (
        "import pathlib, sys; from vigie.pipeline.fingerprint import read_module; "
        "print(read_module(pathlib.Path(sys.argv[1]))[0])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(file)],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_imports_in_a_lambda_or_a_comprehension_are_found(package: Write) -> None:
    text = """
        x = [importlib.import_module("pkg.one") for _ in y]
        f = lambda: __import__("pkg.two")
        match x:
            case 1:
                import pkg.three
        try:
            pass
        except A:
            import pkg.four
        """
    assert read_module(package("x", text))[1] == ["pkg.four", "pkg.one", "pkg.three", "pkg.two"]


def test_reader_stands_by_what_it_read_first(package: Write) -> None:
    package("pkg_d/step", "x = 1")
    reader = CodeReader(package="pkg_d")
    step = Step("s", "S", run, modules=("pkg_d.step",))
    before = reader.digests(step)
    package("pkg_d/step", "x = 2")
    assert reader.digests(step) == before
    assert CodeReader(package="pkg_d").digests(step) != before


def test_cache_of_parsed_files_gives_the_same(package: Write, tmp_path: Path) -> None:
    package("pkg_e/step", "from pkg_e import helper")
    package("pkg_e/helper")
    plain = digests("pkg_e", "pkg_e.step")
    for _process in range(2):
        cache = StatCache(
            tmp_path / "code.json",
            tmp_path,
            kind=CODE_CACHE_KIND,
            clock=lambda: 4_000_000_000_000_000_000,
        )
        assert digests("pkg_e", "pkg_e.step", cache=cache) == plain
        cache.save()
    assert cache._read().keys() >= {"pkg_e/step.py", "pkg_e/helper.py"}


def test_module_without_source_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        digests("pkg_f", "pkg_f.no_such")


def test_partial_counts_as_the_function_it_calls() -> None:
    step = Step("s", "S", functools.partial(run))
    assert code_digests(step).keys() == {run.__module__}


def test_finding_code_imports_nothing_heavy() -> None:
    code = (
        "import sys; from vigie.pipeline import fingerprint as f\n"
        "from vigie.pipeline.step import Step\n"
        "step = Step('s', 's', f.read_module, modules=('vigie.pipeline.planner',))\n"
        "print(sorted(f.code_digests(step)))\n"
        "assert not {'pandas', 'numpy', 'sklearn', 'duckdb', 'vigie.pipeline.planner'} "
        "& set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['vigie.pipeline.fingerprint', 'vigie.pipeline.planner']"
