"""The planner on tables of cases: no file, no clock, no environment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from vigie.pipeline.fingerprint import Fingerprint, fingerprint
from vigie.pipeline.ledger import Outcome, Status
from vigie.pipeline.planner import Blocked, Decision, Plan, Run, Skip, ancestors, makers_of, plan
from vigie.pipeline.reasons import (
    CodeChanged,
    Forced,
    InputChanged,
    InputMissing,
    InputWillChange,
    LibraryChanged,
    NeverRan,
    OutputMissing,
    OutputTampered,
    ParamChanged,
    PreviousFailed,
    UpToDate,
    VersionChanged,
)
from vigie.pipeline.step import Step, StepContext

WHEN = "2026-07-01T10:00:00+00:00"


def nothing(_context: StepContext) -> None:
    pass


def step(name: str, inputs: str, outputs: str, params: str = "") -> Step:
    return Step(
        name,
        name,
        nothing,
        tuple(inputs.split()),
        tuple(outputs.split()),
        tuple(params.split()),
        libraries=("numpy",),
    )


LINE = (
    step("extract", "raw", "parquet"),
    step("transform", "parquet", "clean cohort", "sample_size"),
    step("load", "clean cohort", "database"),
    step("features", "clean cohort", "matrix", "cutoff_days"),
    step("train", "matrix", "model", "trees"),
    step("predict", "model matrix", "scores", "trees"),
)
NAMES = tuple(one.name for one in LINE)


@dataclass
class Book:
    """A ledger in memory."""

    outcomes: list[Outcome] = field(default_factory=list)

    def last(self, step: str) -> Outcome | None:
        return next((one for one in reversed(self.outcomes) if one.step == step), None)

    def last_success(self, step: str) -> Outcome | None:
        good = (one for one in reversed(self.outcomes) if one.step == step)
        return next((one for one in good if one.status == Status.SUCCESS), None)

    def success_with(self, step: str, digest: str) -> Outcome | None:
        good = (one for one in reversed(self.outcomes) if one.step == step)
        return next(
            (
                one
                for one in good
                if one.status == Status.SUCCESS and one.fingerprint.digest == digest
            ),
            None,
        )


@dataclass
class World:
    """A pipeline's surroundings as values; ``run`` carries a step out on paper."""

    steps: tuple[Step, ...] = LINE
    states: dict[str, str | None] = field(default_factory=lambda: {"raw": "raw:1"})
    params: dict[str, Any] = field(
        default_factory=lambda: {"sample_size": 5000, "cutoff_days": 180, "trees": 100}
    )
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    libraries: dict[str, str | None] = field(default_factory=lambda: {"numpy": "2.0"})
    versions: dict[str, int] = field(default_factory=dict)
    book: Book = field(default_factory=Book)

    def fingerprint(self, one: Step) -> Fingerprint:
        code = self.code.get(one.name, {f"vigie.{one.name}": "1"})
        one = replace(one, version=self.versions.get(one.name, 1))
        states = {name: self.states.get(name) for name in one.inputs}
        return fingerprint(one, self.params, code, self.libraries, states)

    def plan(self, *requested: str, forced: tuple[str, ...] = ()) -> Plan:
        outputs = [name for one in self.steps for name in one.outputs]
        return plan(
            self.steps,
            requested=requested or [one.name for one in self.steps],
            fingerprints={one.name: self.fingerprint(one) for one in self.steps},
            states=dict.fromkeys(outputs) | self.states,
            ledger=self.book,
            forced=forced,
        )

    def run(self, name: str, *, same_outputs: bool = False) -> None:
        one = next(one for one in self.steps if one.name == name)
        present = self.fingerprint(one)
        if not same_outputs:
            for output in one.outputs:
                self.states[output] = f"{output}:{present.digest[:8]}"
        outputs = {output: self.states[output] for output in one.outputs}
        self.note(name, Status.SUCCESS, present, outputs)

    def note(
        self,
        name: str,
        status: Status,
        present: Fingerprint | None = None,
        outputs: dict[str, str | None] | None = None,
    ) -> None:
        one = next(one for one in self.steps if one.name == name)
        print_ = present or self.fingerprint(one)
        self.book.outcomes.append(
            Outcome("r", name, status, WHEN, WHEN, 1.0, print_, outputs or {})
        )

    def run_all(self) -> World:
        for one in self.steps:
            self.run(one.name)
        return self


def actions(made: Plan) -> dict[str, str]:
    return {one.step: type(one).__name__.lower() for one in made.decisions}


def running(made: Plan) -> list[str]:
    return [one.step for one in made.decisions if isinstance(one, Run)]


def of(made: Plan, name: str) -> Decision:
    return next(one for one in made.decisions if one.step == name)


def test_first_run_runs_everything() -> None:
    made = World().plan()
    assert running(made) == list(NAMES)
    assert of(made, "extract") == Run("extract", (NeverRan(),))
    assert of(made, "train") == Run("train", (NeverRan(), InputWillChange("matrix", "features")))
    assert not made.is_done


def test_second_run_skips_everything() -> None:
    made = World().run_all().plan()
    assert set(made.decisions) == {Skip(name, (UpToDate(WHEN),)) for name in NAMES}
    assert made.is_done
    assert made.stale == ()


PARAMS = {
    "sample_size": ["transform", "load", "features", "train", "predict"],
    "cutoff_days": ["features", "train", "predict"],
    "trees": ["train", "predict"],
}


@pytest.mark.parametrize(("key", "expected"), PARAMS.items(), ids=PARAMS)
def test_changed_param_reruns_what_depends_on_it_only(key: str, expected: list[str]) -> None:
    world = World().run_all()
    old = world.params[key]
    world.params[key] = 7
    made = world.plan()
    assert running(made) == expected
    assert of(made, expected[0]) == Run(expected[0], (ParamChanged(key, old, 7),))


def test_params_put_back_need_a_run_only_where_outputs_are_others() -> None:
    world = World().run_all()
    world.params["trees"] = 7
    world.run("train")
    world.run("predict")
    world.params["trees"] = 100
    made = world.plan("train")
    assert of(made, "train") == Run(
        "train", (ParamChanged("trees", 7, 100), *of(made, "train").reasons[1:])
    )
    world.states["model"] = world.book.outcomes[4].outputs["model"]  # the first one, put back
    assert running(world.plan("train")) == []


def test_identical_rebuild_stops_the_cascade() -> None:
    world = World().run_all()
    world.states["raw"] = "raw:2"
    made = world.plan()
    assert running(made) == list(NAMES)
    assert of(made, "extract") == Run("extract", (InputChanged("raw", "raw:1", "raw:2"),))
    assert of(made, "transform") == Run("transform", (InputWillChange("parquet", "extract"),))
    tentative = [one.step for one in made.decisions if isinstance(one, Run) and one.is_tentative]
    assert tentative == list(NAMES[1:])
    world.run("extract", same_outputs=True)
    assert world.plan(*NAMES[1:]).is_done


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"code": {"train": {"vigie.train": "2"}}}, CodeChanged(("vigie.train",))),
        (
            {"code": {"train": {"vigie.train": "1", "vigie.new": "1"}}},
            CodeChanged(("vigie.new",)),
        ),
        ({"versions": {"train": 2}}, VersionChanged(1, 2)),
    ],
)
def test_changed_code_reruns_its_step_and_what_follows(change: dict[str, Any], reason: Any) -> None:
    world = replace(World().run_all(), **change)
    made = world.plan()
    assert running(made) == ["train", "predict"]
    assert of(made, "train") == Run("train", (reason,))


def test_changed_library_is_named() -> None:
    world = World().run_all()
    world.libraries["numpy"] = "2.1"
    assert of(world.plan(), "load").reasons[0] == LibraryChanged("numpy", "2.0", "2.1")


@pytest.mark.parametrize(
    ("state", "reason"),
    [(None, OutputMissing("matrix")), ("touched", OutputTampered("matrix"))],
)
def test_output_that_is_gone_or_touched_is_made_again(state: str | None, reason: Any) -> None:
    world = World().run_all()
    world.states["matrix"] = state
    made = world.plan()
    assert running(made) == ["features", "train", "predict"]
    assert of(made, "features") == Run("features", (reason,))
    # Made again the same: nothing after it has to run.
    world.run("features")
    assert world.plan().is_done


def test_touched_leaf_concerns_its_own_step_only() -> None:
    world = World().run_all()
    world.states["database"] = "touched"
    assert running(world.plan()) == ["load"]


def test_forced_step_runs_and_what_follows_waits_to_see() -> None:
    world = World().run_all()
    made = world.plan(forced=("train", "load"))
    assert running(made) == ["load", "train", "predict"]
    assert of(made, "train") == Run("train", (Forced(),))
    assert of(made, "predict") == Run("predict", (InputWillChange("model", "train"),))
    assert made.forced == {"train", "load"}
    assert world.plan("predict", forced=("train",)).forced == frozenset()


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED])
def test_step_that_never_succeeded_says_how_it_ended(status: Status) -> None:
    world = World()
    world.note("extract", status)
    assert of(world.plan(), "extract") == Run("extract", (PreviousFailed(str(status), WHEN),))


def test_failure_after_a_success_is_told_if_it_was_at_the_same_work() -> None:
    world = World().run_all()
    world.params["trees"] = 7
    world.note("train", Status.FAILED)
    expected = (ParamChanged("trees", 100, 7), PreviousFailed("failed", WHEN))
    assert of(world.plan(), "train") == Run("train", expected)
    world.params["trees"] = 8
    assert of(world.plan(), "train") == Run("train", (ParamChanged("trees", 100, 8),))
    world.params["trees"] = 100  # what is there is still the success's
    assert of(world.plan(), "train") == Skip("train", (UpToDate(WHEN),))


def test_missing_raw_data_block() -> None:
    world = World(states={})
    made = world.plan()
    assert made.blocked == (Blocked("extract", (InputMissing("raw", None),)),
                            Blocked("transform", (InputMissing("parquet", "extract"),)),
                            *made.blocked[2:])  # fmt: skip
    assert set(actions(made).values()) == {"blocked"}
    assert world.plan(forced=NAMES).blocked == made.blocked


SUBSETS: list[tuple[str, list[str], dict[str, str]]] = [
    ("only the last", ["predict"], {"predict": "blocked"}),
    ("a chain from the start", ["extract", "transform"], {"extract": "run", "transform": "run"}),
    ("a hole", ["extract", "features"], {"extract": "run", "features": "blocked"}),
    (
        "typed in another order",
        ["features", "transform", "extract"],
        {"extract": "run", "transform": "run", "features": "run"},
    ),
]


@pytest.mark.parametrize(
    ("requested", "expected"), [case[1:] for case in SUBSETS], ids=[case[0] for case in SUBSETS]
)
def test_subsets_of_a_project_that_never_ran(
    requested: list[str], expected: dict[str, str]
) -> None:
    made = World().plan(*requested)
    assert actions(made) == expected
    assert list(actions(made)) == [name for name in NAMES if name in requested]


def test_step_alone_takes_what_is_there_and_says_what_is_stale() -> None:
    world = World().run_all()
    world.params["cutoff_days"] = 90
    made = world.plan("predict")
    assert actions(made) == {"predict": "skip"}
    assert made.stale == (Run("features", (ParamChanged("cutoff_days", 180, 90),)),)
    # `load` leads nowhere that predict reads from: it is not even looked at.
    world.states["database"] = None
    assert [one.step for one in world.plan("predict").stale] == ["features"]


DIAMOND = (
    step("a", "raw", "x"),
    step("b", "x", "y"),
    step("c", "x", "z"),
    step("d", "y z", "end"),
)


def test_diamond_names_every_way_that_leads_to_a_step() -> None:
    world = World(steps=DIAMOND).run_all()
    world.states["raw"] = "raw:2"
    made = world.plan()
    assert of(made, "d").reasons == (InputWillChange("y", "b"), InputWillChange("z", "c"))
    world.run("a")
    world.run("b", same_outputs=True)
    made = world.plan("c", "d")
    assert of(made, "d").reasons == (InputWillChange("z", "c"),)


def test_two_islands_do_not_touch_each_other() -> None:
    world = World(steps=(step("a", "raw", "x"), step("b", "other", "y")))
    world.states["other"] = "o"
    world.run_all()
    world.states["other"] = "p"
    assert running(world.plan()) == ["b"]


def test_step_that_now_declares_more() -> None:
    world = World().run_all()
    world.steps = (*LINE[:-1], step("predict", "model matrix raw", "scores table", "trees"))
    assert of(world.plan(), "predict").reasons == (
        InputChanged("raw", None, "raw:1"),
        OutputMissing("table"),
    )


def test_ancestors() -> None:
    assert ancestors(LINE, ["predict"]) == {"train", "features", "transform", "extract"}
    assert ancestors(LINE, ["extract"]) == set()
    assert ancestors(DIAMOND, ["c"]) == {"a"}


@pytest.mark.parametrize(
    "steps",
    [
        (step("a", "", "x"), step("a", "", "y")),
        (step("a", "", "x"), step("b", "", "x")),
        (step("a", "y", "x"), step("b", "", "y")),
        (step("a", "x", "x"),),
    ],
    ids=["name twice", "output twice", "wrong order", "eats itself"],
)
def test_pipeline_that_makes_no_sense_is_refused(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValueError, match="a"):
        makers_of(steps)


def test_reasons_say_themselves() -> None:
    described = {
        NeverRan(): "it has not run yet",
        PreviousFailed("failed", WHEN): "it failed on 2026-07-01 10:00 UTC",
        PreviousFailed("interrupted", WHEN): "it was interrupted on 2026-07-01 10:00 UTC",
        Forced(): "--force asks for it",
        VersionChanged(1, 2): "the step's version changed from 1 to 2",
        ParamChanged("k", 5000, None): "`k` changed from 5000 to nothing",
        ParamChanged("k", "a", True): "`k` changed from a to true",
        CodeChanged(("vigie.a", "vigie.b")): "the code changed: vigie.a, vigie.b",
        LibraryChanged("l", "1", None): "the library l changed from 1 to not installed",
        InputChanged("i", "1", "2"): "the input `i` changed",
        InputWillChange("i", "s"): "step s makes its input `i` anew",
        OutputMissing("o"): "its output `o` is missing",
        OutputTampered("o"): "its output `o` is not as the last run left it",
        UpToDate(WHEN): "nothing has changed since 2026-07-01 10:00 UTC",
        InputMissing("i", None): "its input `i` is missing",
        InputMissing("i", "s"): "its input `i` is missing; step s makes it",
    }
    assert {reason: reason.describe() for reason in described} == described
    assert len(ParamChanged("k", "x" * 500, "y" * 500).describe()) < 160


def test_plan_as_a_record() -> None:
    world = World().run_all()
    world.params["trees"] = 7
    assert world.plan("train").to_record() == [
        {
            "step": "train",
            "action": "run",
            "reasons": [{"kind": "ParamChanged", "key": "trees", "old": 100, "new": 7}],
        }
    ]
