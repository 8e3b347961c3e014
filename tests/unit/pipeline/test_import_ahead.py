"""Importing what later steps need while earlier ones work."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from tests.unit.pipeline.test_runner import Bench, copy_words
from vigie.pipeline.failures import StepStopped
from vigie.pipeline.import_ahead import ImportAhead
from vigie.pipeline.pipeline import Pipeline
from vigie.pipeline.step import StepContext

SECONDS = 20


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Modules nobody else has: one that waits to be let go on, one after it, one that fails."""
    mark = uuid4().hex[:8]
    names = SimpleNamespace(
        slow=f"slow_{mark}", later=f"later_{mark}", broken=f"broken_{mark}", gate=f"gate_{mark}"
    )
    gate = SimpleNamespace(begun=threading.Event(), go=threading.Event())
    monkeypatch.setitem(sys.modules, names.gate, gate)
    wait = f"from {names.gate} import begun, go\nbegun.set()\ngo.wait({SECONDS})\n"
    (tmp_path / f"{names.slow}.py").write_text(wait)
    (tmp_path / f"{names.later}.py").write_text("")
    (tmp_path / f"{names.broken}.py").write_text("raise RuntimeError('as it happens')\n")
    monkeypatch.syspath_prepend(tmp_path)
    names.begun, names.go = gate.begun, gate.go
    yield names
    gate.go.set()


@dataclass
class ImportingBench(Bench):
    """A bench whose steps name modules."""

    imports: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def pipeline(self) -> Pipeline:
        made = super().pipeline()
        steps = tuple(replace(one, imports=self.imports.get(one.name, ())) for one in made.steps)
        return replace(made, steps=steps)


def test_imports_in_order_and_is_waited_for(modules: SimpleNamespace) -> None:
    ahead = ImportAhead([modules.slow, modules.later])
    assert modules.begun.wait(SECONDS)
    assert modules.later not in sys.modules
    modules.go.set()
    ahead.wait_for([modules.later])
    assert {modules.slow, modules.later} <= set(sys.modules)


def test_what_is_not_imported_here_is_not_waited_for(modules: SimpleNamespace) -> None:
    ImportAhead([modules.slow]).wait_for([modules.later])
    assert modules.later not in sys.modules


def test_module_that_fails_keeps_nobody(modules: SimpleNamespace) -> None:
    ImportAhead([modules.broken, f"absent_{uuid4().hex}", modules.later]).wait_for([modules.later])
    assert modules.later in sys.modules


def test_stopped_it_begins_no_other_module_and_keeps_nobody(modules: SimpleNamespace) -> None:
    with ImportAhead([modules.slow, modules.later]) as ahead:
        assert modules.begun.wait(SECONDS)
    modules.go.set()
    ahead.wait_for([modules.slow, modules.later])
    assert modules.slow in sys.modules
    assert modules.later not in sys.modules


def test_run_imports_for_a_later_step_while_an_earlier_one_works(
    tmp_path: Path, modules: SimpleNamespace
) -> None:
    (tmp_path / "raw.txt").write_text("a b c")
    seen: list[bool] = []

    def first(context: StepContext) -> None:
        assert modules.begun.wait(SECONDS)
        modules.go.set()
        copy_words(context)

    def second(context: StepContext) -> None:
        seen.extend(name in sys.modules for name in (modules.slow, modules.later))
        copy_words(context)

    imports = {"two": (modules.slow, modules.later)}
    ImportingBench(tmp_path, runs={"one": first, "two": second}, imports=imports).run()
    assert seen == [True, True]


def test_run_that_ends_early_imports_no_more(tmp_path: Path, modules: SimpleNamespace) -> None:
    (tmp_path / "raw.txt").write_text("a b c")

    def first(_context: StepContext) -> None:
        assert modules.begun.wait(SECONDS)
        raise RuntimeError

    imports = {"two": (modules.slow, modules.later)}
    with pytest.raises(StepStopped, match="one"):
        ImportingBench(tmp_path, runs={"one": first}, imports=imports).run()
    modules.go.set()
    for thread in threading.enumerate():
        if thread.name == "import-ahead":
            thread.join(SECONDS)
    assert modules.later not in sys.modules
