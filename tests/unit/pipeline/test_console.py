"""What a person reads while a run goes on."""

from __future__ import annotations

import io
from typing import Any

from vigie.pipeline.console import Console
from vigie.pipeline.step import Step, StepContext


def nothing(_context: StepContext) -> None:
    pass


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("🔵", "🔹"))]


def test_a_step_that_went_on_is_named_again_where_it_tells_and_another_came_between() -> None:
    shown = io.StringIO()
    console = Console("dev", stream=shown)
    load, features = (Step(name, name, nothing) for name in ("load", "features"))
    outcome: Any = type("Outcome", (), {"seconds": 1.5})()
    console.step_started(3, 7, load, ())
    console.step_goes_on(load)
    console.step_tells(3, 7, load)
    assert len(headings(shown.getvalue())) == 1
    console.step_started(4, 7, features, ())
    console.step_finished(4, 7, features, outcome)
    console.step_tells(3, 7, load)
    console.say("seven rows")
    console.step_finished(3, 7, load, outcome)
    assert headings(shown.getvalue()) == [
        "🔵 STEP 3/7: LOADING INTO POSTGRESQL",
        "🔵 STEP 4/7: BUILDING THE FEATURES",
        "🔹 Meanwhile, step 3/7: LOADING INTO POSTGRESQL",
    ]
    last = shown.getvalue().split("\n🔹")[1].splitlines()
    assert last[1:] == ["   seven rows", "✅ Loading done in 1.50s"]
