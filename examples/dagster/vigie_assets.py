"""vigie's seven steps as Dagster assets, one process a step, with what each made as metadata.

``dagster dev -f vigie_assets.py``. vigie lives in an environment of its own: the resource says
where it is and what it is to do. (A variable VIGIE_PROJECT would be taken for one of vigie's own
settings.)
"""

import json
import os
import subprocess
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Backoff,
    ConfigurableResource,
    Definitions,
    Failure,
    MaterializeResult,
    RetryPolicy,
    asset,
)

STEPS = ("extract", "transform", "load", "features", "train", "evaluate", "predict")


class Vigie(ConfigurableResource):
    """Where vigie is and what it is to do."""

    command: str = "vigie"
    project: str = "/srv/vigie"
    mode: str = "prod"


def run_step(step: str, vigie: Vigie, context: AssetExecutionContext) -> dict[str, Any]:
    """Run one step and return its answer; what a retry can't mend fails for good."""
    command = [vigie.command, "run", "--json", "--steps", step, "--mode", vigie.mode]
    command += ["--project", vigie.project, "--wait", "600"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    context.log.info(done.stderr)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        # Killed before it could answer: the same command goes on where it stopped.
        raise Failure(f"vigie ended with {done.returncode}") from None
    error = answer["error"]
    if error is not None:
        raise Failure(
            "\n".join(error[part] for part in ("what", "where", "fix") if error[part]),
            metadata={"exit_code": answer["exit_code"]},
            allow_retries=error["retry"],
        )
    return answer


def metadata_of(step: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what Dagster shows beside the asset: rows are drawn over time by it."""
    own = answer["steps"][step]
    rows = own["rows"]
    found = {
        "status": own["status"],
        "run_id": answer["run_id"],
        "seconds": own["seconds"],
        "outputs": own["outputs"],
    }
    if rows is not None:
        found["dagster/row_count"] = sum(rows.values()) if isinstance(rows, dict) else rows
        found["rows"] = rows
    if answer["model_version"]:
        found["model_version"] = answer["model_version"]
    if own["warnings"]:
        found["warnings"] = own["warnings"]
    return found | answer["metrics"]


def make_asset(step: str, before: str | None) -> AssetsDefinition:
    """Return the asset of a step, made after that of the step before it."""

    @asset(
        name=step,
        group_name="vigie",
        deps=[before] if before else [],
        retry_policy=RetryPolicy(max_retries=3, delay=60, backoff=Backoff.EXPONENTIAL),
    )
    def step_asset(context: AssetExecutionContext, vigie: Vigie) -> MaterializeResult:
        return MaterializeResult(metadata=metadata_of(step, run_step(step, vigie, context)))

    return step_asset


ASSETS = [make_asset(step, before) for step, before in zip(STEPS, (None, *STEPS), strict=False)]
definitions = Definitions(
    assets=ASSETS,
    resources={
        "vigie": Vigie(
            command=os.environ.get("DAGSTER_VIGIE_COMMAND", "vigie"),
            project=os.environ.get("DAGSTER_VIGIE_PROJECT", "/srv/vigie"),
            mode=os.environ.get("DAGSTER_VIGIE_MODE", "prod"),
        )
    },
)
