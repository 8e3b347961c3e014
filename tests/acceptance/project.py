"""A project to run vigie in, as a user would: a folder, an environment, a command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance import warm
from tests.conftest import ROOT

Done = subprocess.CompletedProcess[str]
# What a machine may have set and a test must not depend on.
FOREIGN = ("DATABASE_URL", "DB_", "VIGIE_", "LC_", "LANG", "PYTHON", "NO_COLOR")

# For tests that look at neither: a third of what a small run takes.
PLAIN = {"VIGIE_REPORT__PAGE": "false", "VIGIE_REPORT__FIGURES": "basic"}


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment without anything that changes what vigie does."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    home.mkdir(parents=True, exist_ok=True)
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8"}


@dataclass
class Project:
    """A folder with data, and the command line."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.environ:
            self.environ = clean_environment(self.folder.parent / f"{self.folder.name}-home")

    def plain(self) -> Project:
        """Return the project, whose runs draw no more than they must from now on."""
        self.environ |= PLAIN
        return self

    @property
    def raw(self) -> Path:
        return self.folder / "data" / "raw"

    def vigie(self, *arguments: str, cold: bool = False, **environ: str) -> Done:
        """Run ``vigie`` in the project's folder; `cold` in a Python of its own (see ``warm``)."""
        return warm.run(
            arguments, folder=self.folder, environ={**self.environ, **environ}, cold=cold
        )

    def run(self, *arguments: str, **environ: str) -> str:
        """Run ``vigie run``, which must succeed, and return what it said."""
        done = self.vigie("run", *arguments, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass
class Checkout(Project):
    """A copy of the repository's files, run by the guide's commands."""

    @classmethod
    def copy(cls, folder: Path, enrolments: int) -> Checkout:
        """Copy what git knows or would know, and generate small data into data/raw."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        made = cls(folder)
        done = made.vigie("sample", "--enrolments", str(enrolments), "--out", str(made.raw))
        assert done.returncode == 0, done.stderr
        return made

    def bash(self, command: str) -> Done:
        """Run a command line as it stands."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
