"""Where everything of a project and mode lies: the guide's file names, in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


def model_name(kind: str) -> str:
    """Return what a model file of a kind is called, without mode and suffix.

    >>> model_name("extra_trees"), model_name("sklearn.naive_bayes.GaussianNB")
    ('extra_trees', 'gaussian_nb')
    """
    last = kind.rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower()


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The files of one mode of a project; no mode's file is another's.

    Parameters
    ----------
    project
        The root folder.
    mode
        ``"dev"`` or ``"prod"``; the suffix of all names.
    raw_dir
        Folder of the raw files, from the project.
    """

    project: Path
    mode: str
    raw_dir: str = "data/raw"

    @property
    def raw(self) -> Path:
        """Raw files as they were exported."""
        return self.project / self.raw_dir

    @property
    def generated(self) -> Path:
        """Generated data that ``dev`` makes when there are no raw files."""
        return self.project / "data" / "generated"

    @property
    def quarantine(self) -> Path:
        """Rows that were set aside, a CSV for each table."""
        return self.project / "data" / "quarantine"

    @property
    def extracted(self) -> Path:
        """Typed tables as Parquet."""
        return self.project / "data" / "interim" / f"extracted_{self.mode}"

    @property
    def clean(self) -> Path:
        """Clean tables and the cohort as Parquet."""
        return self.project / "data" / "interim" / f"clean_{self.mode}"

    def processed(self, name: str, suffix: str) -> Path:
        """Return ``data/processed/{name}_{mode}{suffix}``."""
        return self.project / "data" / "processed" / f"{name}_{self.mode}{suffix}"

    def model(self, name: str, suffix: str) -> Path:
        """Return ``models/{name}_{mode}{suffix}``."""
        return self.project / "models" / f"{name}_{self.mode}{suffix}"

    @property
    def model_versions(self) -> Path:
        """Time-stamped copies of models, of both modes."""
        return self.project / "models" / "versions"

    def report(self, name: str, suffix: str) -> Path:
        """Return ``reports/{name}_{mode}{suffix}``."""
        return self.project / "reports" / f"{name}_{self.mode}{suffix}"

    @property
    def figures(self) -> Path:
        """The figures of the evaluation."""
        return self.project / "reports" / f"figures_{self.mode}"

    @property
    def log(self) -> Path:
        """Everything the console said, and more, with timestamps."""
        return self.project / "logs" / f"pipeline_{self.mode}.log"

    @property
    def spark_log(self) -> Path:
        """What Spark prints, which is much."""
        return self.project / "logs" / f"spark_{self.mode}.log"

    @property
    def backups(self) -> Path:
        """Backups of the tables, of both modes."""
        return self.project / "backups"

    @property
    def state(self) -> Path:
        """What vigie remembers: ledger, lock, run records, embedded server."""
        return self.project / ".vigie"

    @property
    def ledger(self) -> Path:
        """Outcomes of steps."""
        return self.state / f"ledger_{self.mode}.jsonl"

    @property
    def published(self) -> Path:
        """What was said of rows before their outcome was known."""
        return self.state / f"published_{self.mode}.parquet"

    @property
    def trials(self) -> Path:
        """What sweeps and comparisons make, a folder for each cut-off; may be deleted."""
        return self.state / f"trials_{self.mode}"

    @property
    def runs(self) -> Path:
        """Run records."""
        return self.state / "runs"

    @property
    def postgres(self) -> Path:
        """Data of the embedded server, shared by the modes."""
        return self.state / "postgres"

    @property
    def schema(self) -> str:
        """PostgreSQL schema of the mode."""
        return f"vigie_{self.mode}"
