"""What a session gives to the steps of a run."""

from __future__ import annotations

from pathlib import Path

from vigie.pipeline.definition import pipeline_steps
from vigie.pipeline.orchestrator import PipelineOrchestrator, RunOptions


def test_steps_still_to_run_also_for_one_that_was_to_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "vigie.toml").write_text("[engine]\nthreads = 1\n")
    session = PipelineOrchestrator(RunOptions(project=tmp_path)).open()[0]
    session.to_run = ["extract", "train", "predict"]
    later = {step.name: session._later(step) for step in pipeline_steps("dev")}
    assert later["extract"] == later["load"] == ["train", "predict"]
    assert later["evaluate"] == ["predict"]
    assert later["predict"] == []


def test_what_grows_the_forest_is_part_of_what_a_model_depends_on() -> None:
    plain, grown = (
        next(one for one in pipeline_steps("dev", accelerated=accelerated) if one.name == "train")
        for accelerated in (False, True)
    )
    assert set(grown.libraries) - set(plain.libraries) == {"scikit-learn-intelex"}
