"""What a session gives to the steps of a run."""

from __future__ import annotations

from vigie.pipeline.definition import pipeline_steps


def test_what_grows_the_forest_is_part_of_what_a_model_depends_on() -> None:
    plain, grown = (
        next(one for one in pipeline_steps("dev", accelerated=accelerated) if one.name == "train")
        for accelerated in (False, True)
    )
    assert set(grown.libraries) - set(plain.libraries) == {"scikit-learn-intelex"}
