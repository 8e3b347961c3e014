"""What a session gives to the steps of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vigie.names import STEP_NAMES
from vigie.pipeline.definition import pipeline_steps
from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.ledger import Ledger, Outcome, Status
from vigie.pipeline.session import will_draw


def test_what_grows_the_forest_is_part_of_what_a_model_depends_on() -> None:
    plain, grown = (
        next(one for one in pipeline_steps("dev", accelerated=accelerated) if one.name == "train")
        for accelerated in (False, True)
    )
    assert set(grown.libraries) - set(plain.libraries) == {"scikit-learn-intelex"}


@pytest.mark.parametrize(
    ("forced", "evaluated", "expected"),
    [
        ((), None, True),
        ((), Status.FAILED, True),
        ((), Status.SUCCESS, False),
        (("load", "predict"), Status.SUCCESS, False),
        (("predict", "transform"), Status.SUCCESS, True),
        (("evaluate",), Status.SUCCESS, True),
    ],
)
def test_who_draws_is_called_before_the_plan_where_it_is_needed_in_any_case(
    tmp_path: Path, forced: tuple[str, ...], evaluated: Status | None, expected: bool
) -> None:
    assert will_draw(pipeline(tmp_path, evaluated), STEP_NAMES, forced) is expected


def test_steps_that_are_not_asked_for_call_nobody(tmp_path: Path) -> None:
    made = pipeline(tmp_path, Status.SUCCESS)
    assert not will_draw(made, ("evaluate", "predict"), ("transform",))
    assert will_draw(made, ("train", "evaluate"), ("train",))
    assert not will_draw(pipeline(tmp_path, None), ("train", "predict"), ("train",))


def pipeline(folder: Path, evaluated: Status | None) -> Any:
    """Return dev's steps after a run in which evaluate ended so."""
    ledger = Ledger(folder / "ledger.jsonl")
    if evaluated is not None:
        fingerprint = Fingerprint(
            step="evaluate", version=1, params={}, code={}, libraries={}, inputs={}
        )
        ledger.append(Outcome("run", "evaluate", evaluated, "", "", 1.0, fingerprint))
    return SimpleNamespace(steps=pipeline_steps("dev"), ledger=ledger)
