"""What a session gives to the steps of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from vigie.pipeline.definition import pipeline_steps
from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.ledger import Ledger, Outcome, Status
from vigie.pipeline.session import is_sure_to_draw


def test_what_grows_the_forest_is_part_of_what_a_model_depends_on() -> None:
    plain, grown = (
        next(one for one in pipeline_steps("dev", accelerated=accelerated) if one.name == "train")
        for accelerated in (False, True)
    )
    assert set(grown.libraries) - set(plain.libraries) == {"scikit-learn-intelex"}


@pytest.mark.parametrize(
    ("forced", "evaluated", "sure"),
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
    tmp_path: Path, forced: tuple[str, ...], evaluated: Status | None, sure: bool
) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    if evaluated is not None:
        fingerprint = Fingerprint(
            step="evaluate", version=1, params={}, code={}, libraries={}, inputs={}
        )
        ledger.append(Outcome("run", "evaluate", evaluated, "", "", 1.0, fingerprint))
    assert is_sure_to_draw(forced, ledger) is sure
