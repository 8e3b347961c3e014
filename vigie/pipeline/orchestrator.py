"""The guide's entry point: settings, seven steps, one run.

``python -m src.pipeline.orchestrator`` and ``vigie run`` are both this module's ``run``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.errors import UsageError
from vigie.i18n import _, language_from_environment, use_language
from vigie.pipeline.console import start_log
from vigie.pipeline.options import RunOptions, RunTrace
from vigie.pipeline.runner import RunResult
from vigie.pipeline.session import Session
from vigie.settings import LoadedSettings, find_project, load_settings

if TYPE_CHECKING:
    from vigie.checks.check import Finding


@dataclass(slots=True)
class PipelineOrchestrator:
    """One run of the pipeline.

    Sub-classes may override ``_get_default_config``; vigie.toml, the environment and flags go
    before what it returns.
    """

    options: RunOptions = field(default_factory=RunOptions)
    defaults_origin: str = "default"
    trace: RunTrace | None = field(default=None, init=False)

    def _get_default_config(self) -> dict[str, dict[str, Any]]:
        """Return sample size, folds and model parameters of each mode."""
        return {
            "dev": {
                "sample_size": 5000,
                "n_splits_cv": 3,
                "model_params": {"n_estimators": 100},
            },
            "prod": {
                "sample_size": None,
                "n_splits_cv": 5,
                "model_params": {"n_estimators": 200},
            },
        }

    def settings(self) -> LoadedSettings:
        """Return all settings with their origins."""
        project = (self.options.project or find_project(Path.cwd())).resolve()
        if not project.is_dir():
            raise UsageError(
                _("The project folder does not exist."),
                where=str(project),
                fix=_("Make it, or name another one with --project."),
            )
        return load_settings(
            project,
            config_file=self.options.config,
            flags=self.options.flags(),
            environ=os.environ,
            default_modes=self._get_default_config(),
            default_modes_origin=self.defaults_origin,
        )

    def run(self) -> RunResult | None:
        """Run the steps that are asked for; None where only the plan was asked for.

        Raises
        ------
        VigieError
            For anything that a person can mend.
        StepStopped
            When a step failed or was interrupted.
        """
        use_language(self.options.lang or language_from_environment())
        session, steps, forced = self.open()
        self.trace = session.trace
        session.log_bytes = start_log(session.paths.log)
        for note in session.settings.notes:
            session.console.warn(note)
        with ExitStack() as stack:
            session.resources.databases = session.resources.held = stack
            stack.callback(session.save_caches)
            if self.options.explain:
                session.explain(steps, forced)
                return None
            return session.run(steps, forced)

    def check(self) -> list[Finding]:
        """Answer the production checklist; nothing is changed, no server is started.

        Raises
        ------
        VigieError
            When the settings or the declaration can't be read.
        """
        session, steps, _forced = self.open()
        with ExitStack() as stack:
            session.resources.held = stack
            stack.callback(session.save_caches)
            return session.check(steps)

    def open(self) -> tuple[Session, tuple[str, ...], tuple[str, ...]]:
        """Return a session that speaks the language set, the steps asked for, those forced."""
        mode, steps, forced = self.options.checked()
        if self.options.skip_check:
            from vigie.checks.check import refuse_unknown

            refuse_unknown(self.options.skip_check)
        settings = self.settings()
        language = settings.get("lang") or language_from_environment()
        use_language(language)
        return Session.make(self.options, settings, mode, language), steps, forced
