"""The pages that a person opens: the report of a mode's results, and the index of all runs.

A report is made after a run, of what is there then. What it was made of is kept as one digest, so
that a run in which nothing changed looks at that and no more.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie import __version__
from vigie.dataset.spec import Dataset, report_column
from vigie.errors import ArtifactMissing
from vigie.history.runs import RecordedRun, RunHistory
from vigie.i18n import LOCALE_DIR, _
from vigie.names import STEP_NAMES
from vigie.paths import ProjectPaths
from vigie.pipeline.artifacts import HashCache, atomic_write, write_json
from vigie.pipeline.helper import Helper, carried_out
from vigie.pipeline.ledger import Ledger, Status

if TYPE_CHECKING:
    from vigie.report.listing import Listing
    from vigie.report.sources import Sources

# What a page shows of the last results, and the step that makes each.
_STEP_OF = {
    "features_metadata": "features",
    "keys": "features",
    "model_metadata": "train",
    "metrics": "evaluate",
    "predictions": "predict",
    "predictions_metadata": "predict",
    "drift": "predict",
}
_CODE = Path(__file__).resolve().parent.parent / "report"
_RUNS_COMPARED = 50
_CHANGES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ReportPages:
    """Makes the pages of one project and mode.

    Parameters
    ----------
    hashes
        Remembers contents' digests.
    helper
        Fills the page in; None does so here.
    ledger
        The mode's, where it was read already.
    """

    paths: ProjectPaths
    dataset: Dataset
    declaration: str
    language: str
    hashes: HashCache
    helper: Helper | None = None
    ledger: Ledger | None = None

    @property
    def path(self) -> Path:
        """The report of the mode's last results."""
        return self.paths.report("report", ".html")

    def is_up_to_date(self) -> bool:
        """Whether the page is there as it was made, and nothing that it shows has changed."""
        try:
            known = json.loads(self._state.read_bytes())
            made: str = known["page"]
            return made == self.hashes.digest(self.path) and known["inputs"] == self._inputs()
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def make(self) -> Path:
        """Write the report of the mode's last results.

        Raises
        ------
        ArtifactMissing
            When no run has left any.
        """
        inputs = self._inputs()
        history = self._history()
        run = _last_run(history, self.paths.mode)
        found = {name: path for name, path in self._files().items() if path.is_file()}
        if run is None or not found.keys() & {"metrics", "predictions"}:
            raise ArtifactMissing(
                _("There are no results to report on."),
                where=str(self.paths.report("metrics", ".json")),
                fix=_("Make them first: vigie run --mode {mode}").format(mode=self.paths.mode),
            )
        self._write(self.path, self._sources(history, run, found, is_last=True))
        write_json(self._state, {"inputs": inputs, "page": self.hashes.digest(self.path)})
        return self.path

    def make_of(self, run: RecordedRun) -> Path:
        """Write the report of an earlier run: what its record has, and its files still there."""
        found = {
            name: path
            for name, path in self._files().items()
            if path.is_file() and self._is_of(run, name, path)
        }
        if {"metrics", "predictions"} <= found.keys():
            return self.make()
        path = self.paths.report("report", f"_{run.summary.run_id}.html")
        history = self._history()
        self._write(path, self._sources(history, run, found, is_last=False))
        return path

    def _history(self) -> RunHistory:
        return RunHistory(self.paths.state, self.ledger)

    def _write(self, path: Path, sources: Sources) -> None:
        from vigie.report.page import make_page
        from vigie.report.summarize import summarize

        [page] = carried_out(self.helper, make_page, summarize(sources))
        # For its owner only: it says of single persons how they were judged.
        with atomic_write(path) as temporary:
            temporary.write_text(page, "utf-8", newline="\n")

    # --- what it is made of ------------------------------------------------------------------

    @property
    def _state(self) -> Path:
        return self.paths.state / f"report_{self.paths.mode}.json"

    def _files(self) -> dict[str, Path]:
        paths = self.paths
        return {
            "features_metadata": paths.processed("features_metadata", ".json"),
            "keys": paths.processed("keys", ".parquet"),
            "model_metadata": paths.model("model_metadata", ".json"),
            "metrics": paths.report("metrics", ".json"),
            "predictions": paths.report("predictions", ".csv"),
            "predictions_metadata": paths.report("predictions", "_metadata.json"),
            "drift": paths.report("drift", ".json"),
            "audit": paths.report("audit", ".json"),
            "sweep": paths.report("sweep", ".json"),
        }

    def _inputs(self) -> str:
        """Return a digest of all that decides what the page says."""
        total = hashlib.sha256(f"{__version__}\n{self.language}\n{self.declaration}".encode())
        code = [path for path in sorted(_CODE.rglob("*")) if path.suffix in {".py", ".html"}]
        code += [*sorted(_CODE.glob("templates/page.css")), *sorted(_CODE.glob("templates/*.js"))]
        code += [Path(__file__).resolve(), *sorted(LOCALE_DIR.rglob("*.mo"))]
        for file in [*self._files().values(), *code]:
            digest = self.hashes.digest(file) if file.is_file() else "-"
            total.update(f"{file.name}\0{digest}\n".encode())
        return total.hexdigest()

    def _is_of(self, run: RecordedRun, name: str, path: Path) -> bool:
        step = run.step(_STEP_OF.get(name, ""))
        return step is not None and step.outputs.get(name) == self.hashes.digest(path)

    def _sources(
        self, history: RunHistory, run: RecordedRun, found: Mapping[str, Path], *, is_last: bool
    ) -> Sources:
        from vigie.report.sources import Sources

        documents = {
            name: _read_json(path) for name, path in found.items() if path.suffix == ".json"
        }
        model = documents.get("model_metadata") or self._earlier_model(run)
        audit = documents.get("audit")
        return Sources(
            mode=self.paths.mode,
            wording=self._wording(),
            metrics=documents.get("metrics"),
            model=model,
            features=documents.get("features_metadata"),
            predictions=documents.get("predictions_metadata"),
            drift=documents.get("drift"),
            audit=audit,
            audit_is_current=audit is None or self._is_audited(audit),
            sweep=documents.get("sweep"),
            listing=self._listing(found, documents),
            run=self._run(history, run, is_last=is_last),
            changes=_changes(history, run),
            files={
                name: path.relative_to(self.paths.project).as_posix()
                for name, path in {
                    **found,
                    "model_card": self.paths.model("model_card", ".md"),
                }.items()
            },
        )

    def _wording(self) -> Any:
        from vigie.report.sources import Wording

        cohort, language = self.dataset.cohort, self.language
        title = self.dataset.title
        return Wording(
            language=language,
            title=self.dataset.name if title is None else title.in_language(language),
            attribution=self.dataset.attribution,
            thing=cohort.singular.in_language(language),
            things=cohort.plural.in_language(language),
            left_out={one.reason: one.name.in_language(language) for one in cohort.exclude},
        )

    def _run(self, history: RunHistory, run: RecordedRun, *, is_last: bool) -> dict[str, Any]:
        """Return the run as plain values; steps that it wasn't asked for as they ran last."""
        steps: dict[str, Any] = {step.name: asdict(step) for step in run.steps}
        if is_last:
            ledger = history.ledger(self.paths.mode)
            for name in STEP_NAMES:
                earlier = ledger.last_success(name)
                if name not in steps and earlier is not None:
                    steps[name] = {"status": "skipped", "seconds": None, "facts": earlier.facts}
        return {
            "summary": run.summary.to_record(),
            "record": run.record,
            "steps": {name: steps[name] for name in STEP_NAMES if name in steps},
            "metrics": run.metrics,
        }

    def _earlier_model(self, run: RecordedRun) -> dict[str, Any] | None:
        """Return the metadata of the run's model, if its dated copy is still there."""
        pattern = f"model_metadata_{self.paths.mode}_*.json"
        for path in sorted(self.paths.model_versions.glob(pattern)):
            described = _read_json(path)
            if described and described.get("version") == run.summary.model_version:
                return described
        return None

    def _is_audited(self, audit: Mapping[str, Any]) -> bool:
        from vigie.audit.run import results_digest

        try:
            return bool(audit.get("of") == results_digest(self.paths, self.declaration))
        except OSError:
            return False

    def _listing(self, found: Mapping[str, Path], documents: Mapping[str, Any]) -> Listing | None:
        from vigie.report.listing import make_listing

        described = documents.get("predictions_metadata")
        if "predictions" not in found or not described:
            return None
        table = _read_columns(found["predictions"])
        key: list[str] = described["key"]
        if not table or not {*key, "risk_score", "risk_level", "prediction"} <= table.keys():
            return None
        features = documents.get("features_metadata") or {}
        shown = [one for one in features.get("reported", ()) if not one["sensitive"]]
        labels = {
            one["column"]: one["label"].get(self.language) or one["label"].get("en", one["column"])
            for one in shown
        }
        more = [one["column"] for one in shown if one["column"] not in key]
        reported = self._reported(found.get("keys"), table, key, more)
        return make_listing(table, key=key, reported=reported, labels=labels)

    def _reported(
        self,
        keys: Path | None,
        table: Mapping[str, list[str]],
        key: list[str],
        names: list[str],
    ) -> dict[str, list[Any]]:
        """Return the columns that results are reported by, in the predictions' order."""
        if not names or keys is None:
            return {}
        from vigie.report.listing import reported_columns

        columns = {name: report_column(name) for name in names}
        return reported_columns(keys, table, key, columns)


# --- the index of all runs -------------------------------------------------------------------


def make_runs_page(project: Path, language: str, *, mode: str | None = None) -> Path:
    """Write ``reports/runs.html`` and return where it is.

    Raises
    ------
    ArtifactMissing
        When there is no run.
    """
    from vigie.report.page import runs_page

    runs = list(RunHistory(project / ".vigie").runs(mode=mode))
    if not runs:
        raise ArtifactMissing(
            _("No run is recorded yet."), fix=_("Start one: {command}").format(command="vigie run")
        )
    rows: list[dict[str, Any]] = []
    points: dict[str, list[tuple[datetime, float]]] = {}
    for place, run in enumerate(runs):
        one = run.summary
        before = _run_before(runs[place + 1 :], run)
        compared = before is not None and place < _RUNS_COMPARED
        rows.append(
            {
                **one.to_record(),
                "known": len(one.ran) + len(one.skipped) + len(one.failed),
                "changes": _short_changes(before, run) if compared and before else [],
                "page": _page_of(project, run, runs),
            }
        )
        if one.auc is not None and one.status == Status.SUCCESS:
            points.setdefault(one.mode, []).append((datetime.fromisoformat(one.started), one.auc))
    page = runs_page(rows, points, language=language, project=project.name)
    path = project / "reports" / "runs.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, "utf-8", newline="\n")
    return path


def _page_of(project: Path, run: RecordedRun, runs: Iterable[RecordedRun]) -> str | None:
    """Return the name of a run's report, where there is one."""
    mode, run_id = run.summary.mode, run.summary.run_id
    own = ProjectPaths(project, mode).report("report", f"_{run_id}.html")
    if own.is_file():
        return own.name
    last = next((one for one in runs if one.summary.mode == mode and _has_made(one)), None)
    current = ProjectPaths(project, mode).report("report", ".html")
    is_last = last is not None and last.summary.run_id == run_id
    return current.name if is_last and current.is_file() else None


def _short_changes(before: RecordedRun, run: RecordedRun) -> list[str]:
    """Return in a few words what a run did otherwise than the one before."""
    from vigie.history.diff import diff_runs

    found = diff_runs(before, run)
    told = [f"{one.key}: {one.a} → {one.b}" for one in found.settings]
    for words, changes in (
        (_("declaration"), found.declaration),
        (_("data"), [one for one in found.inputs if one.key.startswith("extract.")]),
        (_("code"), found.code),
        (_("libraries"), found.libraries),
    ):
        if changes:
            told.append(words)
    more = len(told) - _CHANGES_SHOWN
    return told[:_CHANGES_SHOWN] + ([_("and {count} more").format(count=more)] if more > 0 else [])


# --- runs ------------------------------------------------------------------------------------


def _has_made(run: RecordedRun) -> bool:
    return bool(run.summary.ran) and run.summary.status == Status.SUCCESS


def _last_run(history: RunHistory, mode: str) -> RecordedRun | None:
    """Return the last run that ended well and made something, else the last that ended well."""
    fallback = None
    for run in history.runs(mode=mode):
        if _has_made(run):
            return run
        if fallback is None and run.summary.status == Status.SUCCESS:
            fallback = run
    return fallback


def _run_before(earlier: Iterable[RecordedRun], run: RecordedRun) -> RecordedRun | None:
    """Return the run to compare with: the last that ended well and came to the same steps."""
    steps = {step.name for step in run.steps}
    return next(
        (
            one
            for one in earlier
            if one.summary.mode == run.summary.mode
            and one.summary.status == Status.SUCCESS
            and steps <= {step.name for step in one.steps}
        ),
        None,
    )


def _changes(history: RunHistory, run: RecordedRun) -> dict[str, Any] | None:
    from vigie.history.diff import diff_runs

    ids = history.ids()
    later = ids.index(run.summary.run_id) if run.summary.run_id in ids else len(ids)
    earlier = (one for one in map(history.read, ids[later + 1 :]) if one is not None)
    before = _run_before(earlier, run)
    return None if before is None else diff_runs(before, run).to_record()


# --- files -----------------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file holds; None where it is broken: a page of the rest is better than none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_columns(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8", newline="") as opened:
        rows = csv.reader(opened)
        names = next(rows, [])
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _name in names]
    return dict(zip(names, columns, strict=True))
