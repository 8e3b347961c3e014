"""Trials: what keeps them apart from each other and from the mode's own results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vigie.pipeline import trials as module
from vigie.pipeline.options import RunOptions
from vigie.pipeline.pipeline import Pipeline
from vigie.pipeline.step import Step, StepContext
from vigie.pipeline.trials import open_trials


class Seen(Exception):
    """What a trial would have run with was seen; nothing needs to run."""


@pytest.mark.parametrize("storage", [None, "s3a://bucket/vigie/"])
def test_tables_elsewhere_have_a_place_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str | None
) -> None:
    lines = ['name = "spark"', *([f'storage = "{storage}"'] if storage else [])]
    (tmp_path / "vigie.toml").write_text("[engine]\n" + "\n".join(lines))
    places: list[str | None] = []

    def look(
        pipeline: Pipeline, _plan: Any, *, make_context: Callable[[Step], StepContext], **_more: Any
    ) -> None:
        places.append(make_context(pipeline.step("transform")).services["storage"])
        raise Seen

    monkeypatch.setattr(module, "run_plan", look)
    for mode in ("dev", "prod"):
        with open_trials(RunOptions(project=tmp_path, mode=mode)) as trials:
            for day in (30, 60):
                with pytest.raises(Seen):
                    trials.run(day, {"random_forest": {}})
    assert places == (
        [f"s3a://bucket/vigie/trials_{mode}/{day}" for mode in ("dev", "prod") for day in (30, 60)]
        if storage
        else [None] * 4
    )


def test_code_is_read_once_for_all_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is edited meanwhile would pass for the maker of what the loaded modules make."""
    readers: list[Any] = []

    def look(pipeline: Pipeline, _plan: Any, **_more: Any) -> None:
        readers.append(pipeline.code)
        raise Seen

    monkeypatch.setattr(module, "run_plan", look)
    with open_trials(RunOptions(project=tmp_path)) as trials:
        for day in (30, 60):
            with pytest.raises(Seen):
                trials.run(day, {"random_forest": {}})
    assert readers[0] == readers[1]
