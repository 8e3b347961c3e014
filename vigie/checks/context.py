"""What the checks may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vigie.data.raw_artifact import RawTables
from vigie.dataset.spec import Dataset
from vigie.paths import ProjectPaths
from vigie.pipeline.ledger import Ledger
from vigie.pipeline.pipeline import Pipeline
from vigie.settings import LoadedSettings

if TYPE_CHECKING:
    from vigie.data.spark_raw import RemoteRawTables


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The project and mode that are looked at; nothing in it is changed.

    Parameters
    ----------
    settings
        All settings, flags included.
    paths
        Of the mode that is about to run.
    dataset
        The declaration.
    raw
        The raw files as that mode takes them: prod generates none.
    steps
        The steps that are about to run.
    open_dev
        Gives dev's steps, with their present values and code, and dev's ledger, opened without
        repair; its artifacts are not looked at. Called by the checks that need it.
    audit_dev
        Gives the parts of the audit of dev's results as plain values. Called by one check.
    log_bytes
        The log's size when the present run began to write into it; None outside one.
    """

    settings: LoadedSettings
    paths: ProjectPaths
    dataset: Dataset
    raw: RawTables | RemoteRawTables
    steps: tuple[str, ...]
    open_dev: Callable[[], Pipeline]
    audit_dev: Callable[[], list[dict[str, Any]]]
    log_bytes: int | None = None
    _known: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """Return ``find()``, asked once for all checks."""
        if name not in self._known:
            self._known[name] = find()
        return self._known[name]

    def ledger(self, mode: str) -> Ledger:
        """Return the ledger of `mode`, without repairing it: a run may be writing."""
        path = replace(self.paths, mode=mode).ledger

        def read() -> Ledger:
            return Ledger.open(path, repair=False)[0]

        found: Ledger = self.once(f"ledger {mode}", read)
        return found

    def command(self, words: str) -> str:
        """Return a command of vigie with the flags that this one was given and that matter."""
        origin = self.settings.origins.get("cutoff_days")
        if origin is not None and origin.layer == "flag":
            words += f" --cutoff-days {self.settings.get('cutoff_days')}"
        return words
