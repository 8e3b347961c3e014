"""Everything that one run needs, wired together: how it begins, goes through its steps and ends."""

from __future__ import annotations

import contextvars
import logging
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from vigie import __version__
from vigie.data.raw_artifact import RawTables
from vigie.dataset.declaration import declaration_error, parse_dataset, read_declaration
from vigie.dataset.spec import Dataset
from vigie.errors import ArtifactMissing, DatabaseError
from vigie.i18n import _, use_language
from vigie.paths import ProjectPaths
from vigie.pipeline.artifacts import HashCache, StatCache
from vigie.pipeline.console import LOGGER, Console
from vigie.pipeline.definition import (
    HELPER_LIBRARIES,
    HELPER_MODULES,
    LIBRARIES,
    NO_RESULT,
    SKLEARN_IMPORTS,
    pipeline_steps,
)
from vigie.pipeline.failures import error_text, storage_error
from vigie.pipeline.fingerprint import CODE_CACHE_KIND, CodeReader, library_versions
from vigie.pipeline.ledger import Ledger, Status
from vigie.pipeline.lock import ProjectLock
from vigie.pipeline.next_steps import next_steps, state_after
from vigie.pipeline.options import RunOptions, RunTrace
from vigie.pipeline.outputs import clear_away, files_made, make_artifacts
from vigie.pipeline.pages import ReportPages
from vigie.pipeline.pipeline import Pipeline, begin_imports, make_plan
from vigie.pipeline.planner import Plan, ancestors
from vigie.pipeline.record import RunRecord, read_git_state
from vigie.pipeline.resources import Resources
from vigie.pipeline.runner import RunResult, run_plan
from vigie.pipeline.step import Reporter, Step, StepContext
from vigie.settings import LoadedSettings
from vigie.spark.files import is_url

if TYPE_CHECKING:
    from vigie.checks.check import Finding
    from vigie.data.spark_raw import RemoteRawTables
    from vigie.pipeline.import_ahead import ImportAhead

# The steps that need the database.
IN_DATABASE = frozenset({"load", "predict"})


@dataclass(slots=True)
class Session:
    """Everything that one run needs, wired together."""

    options: RunOptions
    settings: LoadedSettings
    mode: str
    language: str
    dataset: Dataset
    paths: ProjectPaths
    console: Console
    hashes: HashCache
    code_cache: StatCache
    code: CodeReader
    raw: RawTables | RemoteRawTables
    trace: RunTrace
    resources: Resources
    log_bytes: int | None = None
    backed_up: bool = False
    # As this run has read it, and goes on with it.
    ledger: Ledger | None = None

    @classmethod
    def make(
        cls, options: RunOptions, settings: LoadedSettings, mode: str, language: str
    ) -> Session:
        """Wire a session; nothing is read but the declaration."""
        project = settings.project
        paths = ProjectPaths(project, mode, settings.get("raw_dir"))
        text, origin = read_declaration(settings.get("dataset"), project)
        dataset = parse_dataset(text, origin)
        hashes = HashCache(paths.state / "hashes.json", project)
        code_cache = StatCache(paths.state / "code.json", project, kind=CODE_CACHE_KIND)
        session = cls(
            options=options,
            settings=settings,
            mode=mode,
            language=language,
            dataset=dataset,
            paths=paths,
            console=Console(
                mode, quiet=options.quiet, stream=sys.stderr if options.answer else sys.stdout
            ),
            hashes=hashes,
            code_cache=code_cache,
            code=CodeReader(cache=code_cache, excluded=NO_RESULT),
            raw=RawTables(
                "raw",
                project,
                paths.raw,
                paths.generated if mode == "dev" else None,
                dataset,
                hashes,
            ),
            trace=RunTrace(paths.state, mode),
            resources=Resources(settings, paths),
        )
        if is_url(paths.raw_dir):
            from vigie.data.spark_raw import RemoteRawTables

            session.raw = RemoteRawTables(
                "raw", paths.raw_dir, dataset, session.resources.spark_if_engine
            )
        return session

    def explain(self, steps: Sequence[str], forced: Sequence[str]) -> None:
        """Show the plan that ``run`` would carry out."""
        self.warn_if_generated()
        self.console.banner(steps)
        ledger, _truncated = Ledger.open(self.paths.ledger, repair=False)
        self.trace.plan = make_plan(self.pipeline(ledger), requested=steps, forced=forced)
        self.console.explain(self.trace.plan)

    def run(self, steps: Sequence[str], forced: Sequence[str]) -> RunResult:
        """Carry the steps out under the project's lock."""
        started = time.perf_counter()
        if "extract" in steps and not self.raw.will_generate():
            self.raw.locate()
        generated = self.warn_if_generated()
        self.console.banner(steps)
        command = shlex.join(self.options.command)
        lock = ProjectLock(self.paths.state, self.mode, command=command)
        with lock.hold(self.options.wait_seconds) as taken_over:
            ledger, truncated = Ledger.open(self.paths.ledger)
            self.ledger = ledger
            pipeline = self.pipeline(ledger)
            if will_draw(pipeline, steps, forced):
                # It imports while the plan is made.
                self.resources.begin_helper(HELPER_LIBRARIES)
            clear_away(pipeline.artifacts)
            last = {name: ledger.last_success(name) for name in steps}
            self.console.expected_seconds = {n: one.seconds for n, one in last.items() if one}
            record = self._record(command)
            self.trace.run_id = record.run_id
            self.trace.outputs = {
                step.name: tuple(pipeline.artifacts[name].describe() for name in step.outputs)
                for step in pipeline.steps
            }
            for note in (taken_over, truncated):
                if note is not None:
                    record.note(note.describe())
                    self.console.warn(note.describe())
            try:
                plan = make_plan(pipeline, requested=steps, forced=forced)
                self.trace.plan = plan
                if plan.to_run:
                    self._refuse_early(plan)
                if "evaluate" in plan.to_run and not plan.blocked:
                    self.resources.begin_helper(HELPER_LIBRARIES)
                    self.resources.prepare_helper(HELPER_MODULES, self.language)
                with begin_imports(pipeline, plan) as ahead:
                    if not plan.blocked:
                        self._look_around(plan, steps, record, ahead)
                    result = run_plan(
                        pipeline,
                        plan,
                        run_id=record.run_id,
                        make_context=lambda step: self.context(step, pipeline),
                        observer=self.console,
                        record=record,
                        beside=self.resources.threads() > 1,
                        ahead=ahead,
                    )
            except BaseException as error:
                if record.content["status"] == "running":
                    failed = isinstance(error, Exception)
                    status = Status.FAILED if failed else Status.INTERRUPTED
                    record.end(status, error=error_text(error))
                self._remember(after=error)
                raise
            record.end(Status.SUCCESS)
            self._remember()
            self.resources.begin_to_close_database()
            self._report(anew=bool(result.ran))
        self.console.summary(
            time.perf_counter() - started,
            files_made(self.paths, pipeline.artifacts, steps),
            next_steps(state_after(self.paths, steps, result, generated=generated)),
        )
        return result

    def _refuse_early(self, plan: Plan) -> None:
        """Look before the first step at what would break a later one.

        Before anything is imported ahead, too: workers are asked by libraries that import the same.
        """
        self.refuse_bad_expressions()
        if "train" in plan.to_run:
            self.resources.refuse_bad_workers()

    def _look_around(
        self, plan: Plan, steps: Sequence[str], record: RunRecord, ahead: ImportAhead
    ) -> None:
        """See before the first step to the database; in prod go through the checks."""
        if IN_DATABASE & set(plan.to_run):
            self.resources.begin_database()
        if self.mode == "prod" and plan.to_run:
            from vigie.pipeline.checklist import pass_checks

            pass_checks(self.check(steps, ahead), self.console, record)

    def refuse_bad_expressions(self) -> None:
        """Try the declaration's SQL before the first step: a run must not break in the middle."""
        from vigie.data.expressions import expression_faults

        faults = expression_faults(self.dataset)
        if faults:
            text, origin = read_declaration(self.settings.get("dataset"), self.paths.project)
            raise declaration_error(faults, text, origin)

    def check(self, steps: Sequence[str], ahead: ImportAhead | None = None) -> list[Finding]:
        """Answer the production checklist for a run of `steps`, while `ahead` imports for them."""
        from vigie.checks.context import CheckContext
        from vigie.pipeline.checklist import answer, audit_of_dev

        def wait_for_libraries() -> None:
            # The audit needs them too, and nobody else may import them meanwhile.
            if ahead is not None:
                ahead.wait_for(SKLEARN_IMPORTS)

        context = CheckContext(
            settings=self.settings,
            paths=self.paths,
            dataset=self.dataset,
            raw=self.raw,
            steps=tuple(steps),
            open_dev=self._dev_pipeline,
            audit_dev=lambda: audit_of_dev(
                self.settings, self.paths, before_auditing=wait_for_libraries
            ),
            log_bytes=self.log_bytes,
        )
        return answer(context, self.options.skip_check)

    def _dev_pipeline(self) -> Pipeline:
        """Return dev's steps with their present values and code, and its past."""
        dev = Session.make(replace(self.options, mode="dev"), self.settings, "dev", self.language)
        dev.resources.lender = self.resources
        ledger, _truncated = Ledger.open(dev.paths.ledger, repair=False)
        return dev.pipeline(ledger)

    def save_caches(self) -> None:
        """Keep what was learnt about files' contents for the next run."""
        self.hashes.save()
        self.code_cache.save()

    def _back_up_once(self, reporter: Reporter) -> None:
        """Back the mode's tables up before this run replaces any, where that is asked for."""
        if self.backed_up or not self.settings.get(f"modes.{self.mode}.backup"):
            return
        from vigie.data.backup import backup_schema, has_tables

        self.backed_up = True
        address, schema = self.resources.address(), self.paths.schema
        if not has_tables(address, schema):
            return
        with reporter.progress(_("backing up"), None):
            backup = backup_schema(
                address,
                schema,
                self.paths.backups,
                now=datetime.now(UTC),
                keep=self.settings.get("retention.backups"),
            )
        reporter.say(
            _("backup of the present tables: {path} ({size:.1f} MB)").format(
                path=backup.path.relative_to(self.paths.project), size=backup.bytes / 1e6
            )
        )

    # --- parts -------------------------------------------------------------------------------

    def pipeline(self, ledger: Ledger) -> Pipeline:
        """Return the mode's steps with all that planning and running them needs."""
        steps = pipeline_steps(
            self.mode,
            self.settings.get("engine.name"),
            accelerated=self.settings.get("model.accelerated"),
        )
        return Pipeline(
            steps=steps,
            artifacts=make_artifacts(
                self.settings, self.paths, self.raw, self.hashes, self.resources
            ),
            values=self.values(steps),
            ledger=ledger,
            code=self.code.digests,
        )

    def values(
        self, steps: Sequence[Step], more: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Return the values of all that `steps` depend on; `more` goes before the settings."""
        own: dict[str, Any] = {
            "lang": self.language,
            "cutoff_days": self.settings.get("cutoff_days")
            if self.dataset.uses_cutoff_days
            else None,
            # Without defaults: what a later version adds to them must not look like a change.
            "dataset.tables": {
                name: table.model_dump(exclude_defaults=True)
                for name, table in self.dataset.tables.items()
            },
            "dataset.cohort": self.dataset.cohort.model_dump(exclude_defaults=True),
            "dataset.sensitive": self.dataset.sensitive.model_dump(exclude_defaults=True),
            "dataset.features": [
                {"kind": group.kind, **group.model_dump(exclude_defaults=True)}
                for group in self.dataset.features
            ],
            **(more or {}),
        }
        keys = {key for step in steps for key in step.params}
        return {key: own[key] if key in own else self.settings.get(key) for key in keys}

    def context(self, step: Step, pipeline: Pipeline) -> StepContext:
        """Return what a step may see."""
        services: dict[str, Any] = {
            "dataset": self.dataset,
            "threads": self.resources.threads(),
            "place": self.resources.place(),
            "memory_limit": self.resources.memory_limit(),
            "spill": self.paths.state / "spill",
            "quarantine": self.paths.quarantine,
            "model_versions": self.paths.model_versions,
            "published": self.paths.published,
            "model_metadata": self.paths.model("model_metadata", ".json"),
            "language": self.language,
            "address": self.resources.address,
            "helper": self.resources.helper,
            "spark": self.resources.spark,
            "spark_log": self.resources.spark_options().log,
            "storage": self.settings.get("engine.storage"),
            "before_replacing": self._back_up_once,
            "schema": self.paths.schema,
            "settings": self.settings,
            "accept": self.options.accept,
            "fingerprint": cache(lambda: _present_fingerprint(pipeline, step)),
        }
        if step.name in IN_DATABASE:
            # Opened by this thread, which closes it whatever becomes of the step's own.
            self.resources.address()
        if step.beside is not None:
            # Of the files as they are now, and not by another thread.
            services["fingerprint"]()
        return StepContext(
            step=step,
            project=self.paths.project,
            mode=self.mode,
            artifacts=pipeline.artifacts,
            values=pipeline.values,
            reporter=self.console,
            services=services,
        )

    def _record(self, command: str) -> RunRecord:
        # In one language, whatever the run's: else every setting would differ from run to run.
        shown = contextvars.copy_context().run(self._settings_in_english)
        return RunRecord.start(
            self.paths.runs,
            mode=self.mode,
            command=command,
            settings=shown,
            libraries=library_versions(LIBRARIES) | {"vigie": __version__},
            git=read_git_state(self.paths.project),
        )

    def _settings_in_english(self) -> dict[str, list[str]]:
        use_language("en")
        return {row.key: [row.value, str(row.origin)] for row in self.settings.rows()}

    def _remember(self, after: BaseException | None = None) -> None:
        """Keep the history: tables where a database is open anyway, and no more than is wanted.

        Not after Ctrl-C, which is to end quickly, nor where the database may be the trouble: what
        is left out now comes with the next run.
        """
        from vigie.history.prune import prune_models, prune_runs

        cause = getattr(after, "cause", after)
        if isinstance(cause, DatabaseError) or not isinstance(cause, Exception | None):
            return
        try:
            if self.resources.opened is not None:
                from vigie.data.tables_artifact import remember_tables
                from vigie.history.runs import RunHistory
                from vigie.history.tables import write_history

                history = RunHistory(self.paths.state, self.ledger)
                write_history(self.resources.opened, self.paths.project, history)
                remember_tables(self.settings, self.paths, self.resources.opened)
            prune_runs(self.paths.runs, self.settings.get("retention.runs"))
            if after is None:
                prune_models(self.paths, self.settings.get("retention.models"))
        except Exception:
            # The run has ended as it has: nothing here may change that.
            LOGGER.warning(_("The run history could not be kept."), exc_info=True)

    def _pages(self) -> ReportPages:
        text, _origin = read_declaration(self.settings.get("dataset"), self.paths.project)
        return ReportPages(
            self.paths,
            self.dataset,
            text,
            self.language,
            self.hashes,
            self.resources.helper,
            self.ledger,
        )

    def _report(self, *, anew: bool) -> None:
        """Make the page that people open, where the run made something or the page is outdated."""
        pages, started = self._pages(), time.perf_counter()
        if not anew and pages.is_up_to_date():
            return
        if not self.settings.get("report.page"):
            # One that tells of other results than those beside it is worse than none.
            pages.path.unlink(missing_ok=True)
            return
        try:
            with self.console.progress(_("writing the report"), None):
                pages.make()
        except ArtifactMissing:
            # Of the first steps alone there is nothing to report yet.
            return
        except Exception as error:
            # All steps have ended well: a page that can't be made must not spoil that.
            LOGGER.debug("traceback", exc_info=error)
            cause = storage_error(error) or error
            self.console.warn(
                _("The report could not be made: {reason} To try again: {command}").format(
                    reason=error_text(cause), command=f"vigie report --mode {self.mode}"
                )
            )
            return
        LOGGER.debug("report written in %.2f s", time.perf_counter() - started)

    def warn_if_generated(self) -> bool:
        """Say where data are generated, before anything is made of them; return whether so."""
        generated = self.raw.will_generate() or self._marked_as_generated()
        if generated:
            self.console.line(
                _(
                    "⚠️  GENERATED DATA: these are no real {things}. Put your export into {raw}/."
                ).format(
                    things=self.dataset.cohort.plural.in_language(self.language),
                    raw=self.paths.raw_dir,
                ),
                level=logging.WARNING,
            )
        return generated

    def _marked_as_generated(self) -> bool:
        return not self.raw.is_empty() and self.raw.locate().generated is not None


def will_draw(pipeline: Pipeline, steps: Sequence[str], forced: Sequence[str]) -> bool:
    """Whether evaluate will be in the plan in any case; there may be nothing to do for it then."""
    if "evaluate" not in steps:
        return False
    before = {"evaluate", *ancestors(pipeline.steps, {"evaluate"})}
    asked = before & set(forced) & set(steps)
    return bool(asked) or pipeline.ledger.last_success("evaluate") is None


def _present_fingerprint(pipeline: Pipeline, step: Step) -> str:
    return pipeline.fingerprint(step, pipeline.states(step.inputs)).digest
