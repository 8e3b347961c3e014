"""A step that goes on beside later ones: what runs when, and what is kept whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.pipeline.test_runner import Heard, Silent
from vigie.errors import DataError, ExitCode
from vigie.pipeline import interrupt
from vigie.pipeline.artifacts import FileArtifact, atomic_write
from vigie.pipeline.failures import StepStopped
from vigie.pipeline.interrupt import Beside, run_interruptibly
from vigie.pipeline.ledger import Ledger, Status
from vigie.pipeline.pipeline import Pipeline, make_plan
from vigie.pipeline.record import RunRecord
from vigie.pipeline.runner import RunResult, run_plan
from vigie.pipeline.step import LaterReporter, Step, StepContext

SECONDS = 20.0


class NoBar:
    def advance_to(self, done: float) -> None:
        pass


class Speech(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.bar: Callable[[], Any] = NoBar

    def progress(self, description: str, total: float | None, unit: str | None = None) -> Any:
        return nullcontext(self.bar())

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.said.append(f"! {message}")


def copy(context: StepContext) -> None:
    (source,), (target,) = context.step.inputs, context.step.outputs
    with atomic_write(context.output(target).path) as temporary:
        temporary.write_text(context.input(source).path.read_text())


@dataclass
class Bench:
    """raw -> one; slow and two read one, slow goes on beside; last reads two, after slow."""

    folder: Path
    runs: dict[str, Callable[[StepContext], None]] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    speech: Speech = field(default_factory=Speech)
    record: RunRecord | None = None
    no_context_for: str | None = None

    def pipeline(self) -> Pipeline:
        def step(name: str, source: str, **more: Any) -> Step:
            run = self.runs.get(name, copy)
            return Step(name, name, run, (source,), (f"{name}.txt",), **more)

        return Pipeline(
            steps=(
                step("one", "raw.txt"),
                step("slow", "one.txt", beside=("json",)),
                step("two", "one.txt"),
                step("last", "two.txt", after=("slow",)),
            ),
            artifacts={
                f"{name}.txt": FileArtifact(f"{name}.txt", self.folder / f"{name}.txt", self.folder)
                for name in ("raw", "one", "slow", "two", "last")
            },
            values={},
            ledger=Ledger.open(self.folder / "ledger.jsonl")[0],
            code=lambda _step: {"m": "1"},
        )

    def run(self, *, beside: bool = True) -> RunResult:
        self.heard.events.clear()
        pipeline = self.pipeline()

        def make_context(step: Step) -> StepContext:
            if step.name == self.no_context_for:
                raise DataError("nothing to see", fix="look elsewhere")
            artifacts = pipeline.artifacts
            return StepContext(step, self.folder, "dev", artifacts, {}, self.speech)

        plan = make_plan(pipeline, requested=[step.name for step in pipeline.steps])
        return run_plan(
            pipeline,
            plan,
            run_id="r",
            make_context=make_context,
            observer=self.heard,
            record=self.record,
            beside=beside,
        )

    def outcomes(self) -> list[tuple[str, str]]:
        ledger, _truncated = Ledger.open(self.folder / "ledger.jsonl")
        return [(one.step, str(one.status)) for one in ledger.outcomes()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "raw.txt").write_text("a b c")
    return Bench(tmp_path)


def test_the_next_step_runs_while_it_goes_on(bench: Bench) -> None:
    two_has_run = threading.Event()

    def slow(context: StepContext) -> None:
        context.say("nearly there")
        # Were it not beside, nobody would ever set it.
        assert two_has_run.wait(SECONDS)
        copy(context)

    def two(context: StepContext) -> None:
        copy(context)
        context.say("two speaks")
        two_has_run.set()

    bench.runs = {"slow": slow, "two": two}
    assert set(bench.run().ran) == {"one", "slow", "two", "last"}
    events = bench.heard.events
    assert "slow goes on" in events
    assert events.index("3/4 two finished") < events.index("2/4 slow finished")
    assert events.index("2/4 slow tells") == events.index("2/4 slow finished") - 1
    # What must come after it does, and it speaks when its turn has come.
    assert events.index("2/4 slow finished") < events.index("4/4 last started")
    assert bench.speech.said == ["two speaks", "nearly there"]
    bench.run()
    assert not any("started" in event for event in bench.heard.events)


def test_the_interpreter_is_left_as_it_was(bench: Bench) -> None:
    before, during = sys.getswitchinterval(), []

    def two(context: StepContext) -> None:
        during.append(sys.getswitchinterval())
        copy(context)

    bench.runs["two"] = two
    bench.run()
    assert during[0] < before
    assert sys.getswitchinterval() == before


def test_one_after_the_other_where_that_is_asked_for(bench: Bench) -> None:
    bench.run(beside=False)
    assert bench.heard.events[1:] == [
        f"{number}/4 {name} {what}"
        for number, name in enumerate(("one", "slow", "two", "last"), start=1)
        for what in ("started", "finished")
    ]


def test_its_failure_stops_the_run_and_loses_nothing(bench: Bench) -> None:
    def slow(_context: StepContext) -> None:
        raise DataError("no room", fix="make room")

    bench.runs["slow"] = slow
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert (caught.value.step, caught.value.status) == ("slow", Status.FAILED)
    assert isinstance(caught.value.cause, DataError)
    assert ("slow", "failed") in bench.outcomes()
    assert not (bench.folder / "last.txt").exists()
    bench.runs.clear()
    # What ran beside the failure need not run again.
    assert set(bench.run().ran) <= {"slow", "two", "last"}
    assert (bench.folder / "last.txt").read_text() == "a b c"


def test_it_may_finish_where_another_step_fails(bench: Bench) -> None:
    two_fails = threading.Event()

    def slow(context: StepContext) -> None:
        assert two_fails.wait(SECONDS)
        copy(context)

    def two(_context: StepContext) -> None:
        two_fails.set()
        raise DataError("bad", fix="mend it")

    bench.runs = {"slow": slow, "two": two}
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert caught.value.step == "two"
    assert bench.outcomes() == [("one", "success"), ("two", "failed"), ("slow", "success")]
    bench.runs.clear()
    assert bench.run().ran == ("two", "last")


def test_an_interrupted_run_stops_it(bench: Bench) -> None:
    told = threading.Event()
    begun = threading.Event()

    def wait_to_be_told() -> None:
        begun.set()
        assert told.wait(SECONDS)
        raise RuntimeError("told to stop")

    def slow(_context: StepContext) -> None:
        run_interruptibly(wait_to_be_told, stop=told.set)

    def two(_context: StepContext) -> None:
        assert begun.wait(SECONDS)
        raise KeyboardInterrupt

    bench.runs = {"slow": slow, "two": two}
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert (caught.value.step, caught.value.status) == ("two", Status.INTERRUPTED)
    assert told.is_set()
    assert ("slow", "interrupted") in bench.outcomes()


def test_the_first_failure_is_the_runs(bench: Bench) -> None:
    two_fails = threading.Event()

    def slow(_context: StepContext) -> None:
        assert two_fails.wait(SECONDS)
        raise DataError("slow is bad", fix="mend slow")

    def two(_context: StepContext) -> None:
        two_fails.set()
        raise DataError("two is bad", fix="mend two")

    bench.runs = {"slow": slow, "two": two}
    bench.record = RunRecord.start(bench.folder / "runs", mode="dev", command="", settings={})
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert caught.value.step == "two"
    assert bench.record.content["error"] == "two is bad"
    ended = bench.record.content["steps"]
    assert {name: ended[name]["error"] for name in ("slow", "two")} == {
        "slow": "slow is bad",
        "two": "two is bad",
    }
    assert {"2/4 slow failed", "3/4 two failed"} <= set(bench.heard.events)


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds", "does not heed"])
@pytest.mark.parametrize("two_fails", [True, False], ids=["after a failure", "at the end"])
def test_interrupted_while_it_is_waited_for(bench: Bench, *, heeds: bool, two_fails: bool) -> None:
    told = threading.Event()
    begun = threading.Event()
    end = threading.Event()

    def wait_to_be_told() -> None:
        begun.set()
        assert (told if heeds else end).wait(SECONDS)
        raise RuntimeError("told to stop")

    def slow(_context: StepContext) -> None:
        if heeds:
            run_interruptibly(wait_to_be_told, stop=told.set)
        else:
            wait_to_be_told()

    def two(context: StepContext) -> None:
        assert begun.wait(SECONDS)
        if two_fails:
            raise DataError("bad", fix="mend it")
        copy(context)

    class Impatient:
        def advance_to(self, done: float) -> None:
            raise KeyboardInterrupt

    bench.runs = {"slow": slow, "two": two}
    bench.speech.bar = Impatient
    bench.record = RunRecord.start(bench.folder / "runs", mode="dev", command="", settings={})
    with pytest.raises(StepStopped) as caught:
        bench.run()
    end.set()
    assert (caught.value.step, caught.value.status) == ("slow", Status.INTERRUPTED)
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    assert told.is_set() == heeds
    assert ("slow", "interrupted") in bench.outcomes()
    assert bench.record.content["status"] == "interrupted"
    assert bench.record.content["steps"]["slow"]["status"] == "interrupted"
    assert "2/4 slow interrupted" in bench.heard.events


@pytest.mark.parametrize("ends", ["well", "by itself", "with its next word"])
def test_what_was_given_up_is_kept_and_told_once(
    bench: Bench, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it ends after all: the run is over, and another one may be under way."""
    monkeypatch.setattr(interrupt, "PATIENCE_SECONDS", 0.1)
    begun, end = threading.Event(), threading.Event()

    def slow(context: StepContext) -> None:
        begun.set()
        assert end.wait(SECONDS)
        if ends == "with its next word":
            context.say("nobody hears it")
        if ends == "by itself":
            raise KeyboardInterrupt
        copy(context)

    def two(_context: StepContext) -> None:
        assert begun.wait(SECONDS)
        raise KeyboardInterrupt

    bench.runs = {"slow": slow, "two": two}
    bench.record = RunRecord.start(bench.folder / "runs", mode="dev", command="", settings={})
    with pytest.raises(StepStopped):
        bench.run()
    before = bench.outcomes(), json.dumps(bench.record.content)
    assert before[0].count(("slow", "interrupted")) == 1
    end.set()
    for thread in [one for one in threading.enumerate() if one.name == "work"]:
        thread.join(SECONDS)
    assert (bench.outcomes(), json.dumps(bench.record.content)) == before
    assert (bench.folder / "slow.txt").exists() == (ends == "well")


def test_ctrl_c_while_work_is_waited_for_does_not_pass_for_its_end() -> None:
    """Python 3.11 takes a thread whose ``join`` is interrupted for one that has ended."""
    told, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert told.wait(SECONDS)

    def interrupt_us() -> None:
        assert begun.wait(SECONDS)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_us).start()
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(work, stop=told.set)
    assert told.is_set()


def test_nothing_more_begins_once_it_was_asked_to_stop() -> None:
    go = threading.Event()
    seen: list[str] = []

    def work() -> None:
        # Deaf until now: a backup, say.
        assert go.wait(SECONDS)
        try:
            run_interruptibly(lambda: seen.append("load"), stop=lambda: None)
        except KeyboardInterrupt:
            seen.append("stopped")

    beside = Beside(work)
    beside.stop()
    go.set()
    beside.wait(SECONDS)
    assert seen == ["stopped"]


def test_its_context_may_fail(bench: Bench) -> None:
    bench.no_context_for = "slow"
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert (caught.value.step, caught.value.status) == ("slow", Status.FAILED)
    assert ("slow", "failed") in bench.outcomes()


def test_later_reporter_shows_where_the_work_is() -> None:
    shown: list[Any] = []

    @dataclass
    class Bar:
        def advance_to(self, done: float) -> None:
            shown.append(done)

    class Live(Speech):
        def progress(self, description: str, total: float | None, unit: str | None = None) -> Any:
            shown.append((description, total, unit))
            return nullcontext(Bar())

    later = LaterReporter(Live())
    with later.progress("loading", 10, "rows") as bar:
        bar.advance_to(4)
        with later.shown_live() as show:
            show()
    assert shown == [("loading", 10, "rows"), 4]
