"""The guide's door: ``python -m src.pipeline.orchestrator --mode dev``.

The code is in ``vigie.pipeline.orchestrator``; ``vigie run`` is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vigie.cli import leave, main_run
from vigie.pipeline import orchestrator


@dataclass(slots=True)
class PipelineOrchestrator(orchestrator.PipelineOrchestrator):
    """The pipeline, with the defaults that the guide lets you edit here.

    vigie.toml, ``.env``, the environment and flags go before them; ``vigie config`` says what
    holds and where it comes from.
    """

    defaults_origin: str = "src/pipeline/orchestrator.py"

    def _get_default_config(self) -> dict[str, dict[str, Any]]:
        return {
            "dev": {
                "sample_size": 5000,  # rows to score; None takes all
                "n_splits_cv": 3,  # folds of the cross-validation
                "model_params": {
                    "n_estimators": 100,  # trees of the Random Forest
                },
            },
            "prod": {
                "sample_size": None,
                "n_splits_cv": 5,
                "model_params": {
                    "n_estimators": 200,
                },
            },
        }


def main() -> int:
    """Run the pipeline with the options of the command line; return the exit code."""
    return main_run(orchestrator=PipelineOrchestrator)


if __name__ == "__main__":
    leave(main())
