"""vigie's seven steps as an Airflow DAG (Airflow 3), one process a step.

Put this file into the DAGs folder. vigie lives in an environment of its own, since its libraries
and Airflow's need not agree. Three Airflow variables say where it is and what it is to do:
`vigie_command`, `vigie_project` and `vigie_mode` (or AIRFLOW_VAR_VIGIE_PROJECT and so on in the
environment; a variable VIGIE_PROJECT would be taken for one of vigie's own settings).

Each task's XCom is the answer of ``vigie run --json``: rows, seconds, metrics, model, warnings.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, chain
from airflow.sdk.exceptions import AirflowException, AirflowFailException

STEPS = ("extract", "transform", "load", "features", "train", "evaluate", "predict")


class VigieStep(BaseOperator):
    """Run one step; what a retry can't mend fails at once."""

    # For a person's run, or another DAG's, to end.
    wait_seconds = 600
    template_fields = ("command", "project", "mode")

    def __init__(
        self, *, step: str, command: str, project: str, mode: str, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.step = step
        self.command = command
        self.project = project
        self.mode = mode
        self.hook = SubprocessHook()

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the answer, the last line that vigie prints; the lines before go to the log."""
        command = [self.command, "run", "--json", "--steps", self.step]
        command += [
            "--mode",
            self.mode,
            "--project",
            self.project,
            "--wait",
            str(self.wait_seconds),
        ]
        done = self.hook.run_command(command, cwd=self.project)
        try:
            answer: dict[str, Any] = json.loads(done.output)
        except ValueError:
            # Killed before it could answer: the same command goes on where it stopped.
            raise AirflowException(f"vigie ended with {done.exit_code}") from None
        error = answer["error"]
        if error is None:
            return answer
        text = "\n".join(error[part] for part in ("what", "where", "fix") if error[part])
        if error["retry"]:
            raise AirflowException(text)
        raise AirflowFailException(text)

    def on_kill(self) -> None:
        """Stop the step where Airflow stops the task; nothing is left half done."""
        self.hook.send_sigterm()


with DAG(
    dag_id="vigie",
    description="From CSV exports to an early warning",
    schedule="0 5 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two runs of a mode would wait for each other.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["vigie"],
):
    chain(
        *(
            VigieStep(
                task_id=step,
                step=step,
                command="{{ var.value.get('vigie_command', 'vigie') }}",
                project="{{ var.value.get('vigie_project', '/srv/vigie') }}",
                mode="{{ var.value.get('vigie_mode', 'prod') }}",
            )
            for step in STEPS
        )
    )
