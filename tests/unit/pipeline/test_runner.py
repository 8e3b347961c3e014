"""The runner with a pipeline of small text files."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vigie.errors import ArtifactMissing, DataError, ExitCode
from vigie.pipeline.artifacts import FileArtifact, atomic_write
from vigie.pipeline.failures import StepStopped, storage_error
from vigie.pipeline.ledger import Ledger, Outcome, Status
from vigie.pipeline.pipeline import Pipeline, make_plan
from vigie.pipeline.planner import Plan
from vigie.pipeline.reasons import Reason, UpToDate
from vigie.pipeline.record import RunRecord, read_record
from vigie.pipeline.runner import RunResult, run_plan
from vigie.pipeline.step import ProgressBar, Step, StepContext


class Silent:
    def say(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    def progress(
        self, description: str, total: float | None, unit: str | None = None
    ) -> AbstractContextManager[ProgressBar]:
        raise NotImplementedError


@dataclass
class Heard:
    events: list[str] = field(default_factory=list)

    def plan_made(self, plan: Plan) -> None:
        self.events.append("plan")

    def step_started(self, index: int, count: int, step: Step, reasons: Sequence[Reason]) -> None:
        assert reasons
        self.events.append(f"{index}/{count} {step.name} started")

    def step_skipped(self, index: int, count: int, step: Step, reasons: Sequence[UpToDate]) -> None:
        self.events.append(f"{index}/{count} {step.name} skipped")

    def step_goes_on(self, step: Step) -> None:
        self.events.append(f"{step.name} goes on")

    def step_tells(self, index: int, count: int, step: Step) -> None:
        self.events.append(f"{index}/{count} {step.name} tells")

    def step_finished(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        assert outcome.seconds >= 0
        self.events.append(f"{index}/{count} {step.name} finished")

    def step_stopped(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        self.events.append(f"{index}/{count} {step.name} {outcome.status}")


def copy_words(context: StepContext) -> None:
    """Write the input's words, up to the limit, to the output."""
    (source,), (target,) = context.step.inputs, context.step.outputs
    words = context.input(source).path.read_text().split()
    context.facts["word_count"] = len(words)
    if context.step.params:
        words = words[: context.param("limit")]
        context.warn("some words may be missing")
    with atomic_write(context.output(target).path) as temporary:
        temporary.write_text(" ".join(words))


Run = Callable[[StepContext], None]


@dataclass
class Bench:
    """A project folder whose pipeline is raw -> one -> two -> three."""

    folder: Path
    values: dict[str, Any] = field(default_factory=lambda: {"limit": 2})
    runs: dict[str, Run] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    record: RunRecord | None = None

    def pipeline(self) -> Pipeline:
        def step(name: str, source: str, params: tuple[str, ...] = ()) -> Step:
            run = self.runs.get(name, copy_words)
            return Step(name, name, run, (source,), (f"{name}.txt",), params)

        files = ["raw.txt", "one.txt", "two.txt", "three.txt"]
        return Pipeline(
            steps=(step("one", "raw.txt"), step("two", "one.txt", ("limit",)),
                   step("three", "two.txt")),
            artifacts={
                name: FileArtifact(name, self.folder / name, self.folder) for name in files
            },
            values=self.values,
            ledger=Ledger.open(self.folder / ".vigie" / "ledger_dev.jsonl")[0],
            code=lambda _step: {"m": "1"},
        )  # fmt: skip

    def run(self, *requested: str, forced: tuple[str, ...] = ()) -> RunResult:
        self.heard.events.clear()
        pipeline = self.pipeline()
        asked = requested or [step.name for step in pipeline.steps]
        plan = make_plan(pipeline, requested=asked, forced=forced)
        self.record = RunRecord.start(
            self.folder / ".vigie" / "runs", mode="dev", command="vigie run", settings={}
        )

        def make_context(step: Step) -> StepContext:
            values = {key: pipeline.values[key] for key in step.params}
            return StepContext(step, self.folder, "dev", pipeline.artifacts, values, Silent())

        return run_plan(
            pipeline,
            plan,
            run_id=self.record.run_id,
            make_context=make_context,
            observer=self.heard,
            record=self.record,
        )

    def recorded(self) -> dict[str, Any]:
        assert self.record is not None
        content = read_record(self.record.path.parent, self.record.run_id)
        assert content is not None
        return content


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "raw.txt").write_text("a b c")
    return Bench(tmp_path)


def test_all_runs_once_and_then_nothing(bench: Bench) -> None:
    result = bench.run()
    assert result.ran == ("one", "two", "three")
    assert (bench.folder / "three.txt").read_text() == "a b"
    assert bench.heard.events == [
        "plan",
        "1/3 one started",
        "1/3 one finished",
        "2/3 two started",
        "2/3 two finished",
        "3/3 three started",
        "3/3 three finished",
    ]
    assert bench.recorded()["steps"]["one"]["facts"] == {"word_count": 3}
    assert bench.recorded()["warnings"] == [{"step": "two", "message": "some words may be missing"}]
    assert result.warnings == ("some words may be missing",)
    assert bench.run().ran == ()
    assert bench.heard.events == ["plan"] + [
        f"{i}/3 {name} skipped" for i, name in enumerate(["one", "two", "three"], start=1)
    ]


def test_identical_rebuild_stops_the_cascade(bench: Bench) -> None:
    bench.run()
    (bench.folder / "raw.txt").write_text("a b x")  # beyond the limit of step two
    assert bench.run().ran == ("one", "two")
    assert bench.heard.events[-1] == "3/3 three skipped"
    (bench.folder / "raw.txt").write_text("a   b x")  # step one already makes the same of it
    assert bench.run().ran == ("one",)


def test_plan_is_what_was_run_unless_the_cascade_stops(bench: Bench) -> None:
    pipeline = bench.pipeline()
    planned = make_plan(pipeline, requested=["one", "two", "three"])
    assert bench.run().ran == tuple(decision.step for decision in planned.decisions)


def test_output_touched_by_hand_is_rebuilt(bench: Bench) -> None:
    bench.run()
    (bench.folder / "two.txt").write_text("z z")
    assert bench.run().ran == ("two",)
    assert (bench.folder / "two.txt").read_text() == "a b"
    (bench.folder / "three.txt").unlink()
    assert bench.run().ran == ("three",)


def test_forced_and_subset(bench: Bench) -> None:
    bench.run()
    assert bench.run(forced=("one", "two")).ran == ("one", "two")
    bench.values["limit"] = 1
    assert bench.run("three").ran == ()
    assert bench.recorded()["stale"][0]["step"] == "two"
    assert bench.run().ran == ("two", "three")


def test_blocked_plan_does_nothing(bench: Bench) -> None:
    with pytest.raises(ArtifactMissing, match="two") as caught:
        bench.run("one", "three")
    assert caught.value.fix is not None
    assert "two" in caught.value.fix
    assert not (bench.folder / "one.txt").exists()
    assert bench.recorded()["status"] == "failed"


def failing(error: BaseException) -> Run:
    def run(context: StepContext) -> None:
        context.facts["before"] = 1
        raise error

    return run


FAILURES: list[tuple[BaseException, Status, ExitCode]] = [
    (DataError("bad row"), Status.FAILED, ExitCode.DATA),
    (ValueError("canary"), Status.FAILED, ExitCode.FAILURE),
    (KeyboardInterrupt(), Status.INTERRUPTED, ExitCode.INTERRUPTED),
    (SystemExit(3), Status.INTERRUPTED, ExitCode.INTERRUPTED),
]


@pytest.mark.parametrize(("error", "status", "code"), FAILURES)
def test_failing_step_is_recorded_and_named_and_resumes(
    bench: Bench, error: BaseException, status: Status, code: ExitCode
) -> None:
    bench.runs["two"] = failing(error)
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert caught.value.step == "two"
    assert caught.value.cause is error
    assert caught.value.__cause__ is error
    assert caught.value.status == status
    assert caught.value.exit_code == code
    assert bench.heard.events[-1] == f"2/3 two {status}"
    ledger = bench.pipeline().ledger
    last = ledger.last("two")
    assert last is not None
    assert last.status == status
    assert last.facts == {"before": 1}
    assert "canary" not in ledger.path.read_text()
    assert bench.recorded()["status"] == status
    assert "canary" not in str(bench.recorded())
    del bench.runs["two"]
    assert bench.run().ran == ("two", "three")


def test_output_that_was_not_made_fails_the_step(bench: Bench) -> None:
    bench.runs["two"] = lambda _context: None
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert "two.txt" in str(caught.value.cause)


def test_facts_of_numpy_are_kept(bench: Bench) -> None:
    import numpy as np

    def run(context: StepContext) -> None:
        copy_words(context)
        context.facts["auc"] = np.float64(0.5)

    bench.runs["one"] = run
    bench.run()
    outcome = bench.pipeline().ledger.last_success("one")
    assert outcome is not None
    assert outcome.facts["auc"] == 0.5


def test_full_disk_is_said_plainly_even_where_the_ledger_suffers_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "two.txt")
    bench.runs["two"] = failing(full)
    append = Ledger.append

    def append_or_not(self: Ledger, outcome: Outcome) -> None:
        if outcome.status != Status.SUCCESS:
            raise full
        append(self, outcome)

    monkeypatch.setattr(Ledger, "append", append_or_not)
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert "no space left" in str(caught.value.cause)
    assert caught.value.__cause__ is full


def test_ledger_that_cannot_be_written_fails_the_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Ledger, _outcome: Outcome) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "ledger")

    monkeypatch.setattr(Ledger, "append", refuse)
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert caught.value.step == "one"


def test_interruption_while_deciding_names_the_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = FileArtifact.state

    def run(context: StepContext) -> None:
        copy_words(context)
        monkeypatch.setattr(FileArtifact, "state", interrupted)

    def interrupted(self: FileArtifact) -> str | None:
        if self.name == "two.txt":
            raise KeyboardInterrupt
        return state(self)

    bench.runs["one"] = run
    with pytest.raises(StepStopped) as caught:
        bench.run()
    assert caught.value.step == "two"
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    assert bench.recorded()["status"] == "interrupted"


def test_each_state_is_read_once_a_decision(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    read: list[str] = []
    state = FileArtifact.state

    def counted(self: FileArtifact) -> str | None:
        read.append(self.name)
        return state(self)

    monkeypatch.setattr(FileArtifact, "state", counted)
    make_plan(bench.pipeline(), requested=["one", "two", "three"])
    assert sorted(read) == ["one.txt", "raw.txt", "three.txt", "two.txt"]


def test_causes_of_foreign_errors_are_found() -> None:
    try:
        try:
            raise OSError(errno.EACCES, "Permission denied", "x.parquet")
        except OSError as error:
            raise RuntimeError("arrow says something") from error
    except RuntimeError as error:
        found = storage_error(error)
    assert found is not None
    assert found.where == "x.parquet"
    assert storage_error(ValueError("x")) is None
    assert storage_error(ConnectionRefusedError(errno.ECONNREFUSED, "no")) is None
