"""What `vigie completion` prints is read by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.project import Project


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("completion") / "project")
    for shell in ("bash", "zsh", "fish"):
        done = project.vigie("completion", shell)
        assert done.returncode == 0, done.stderr
        (project.folder / f"vigie.{shell}").write_text(done.stdout, "utf-8")
    return project.folder


def ask(shell: str, *arguments: str) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    done = subprocess.run([shell, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


BASH = """
source "$0/vigie.bash"
COMP_WORDS=(vigie "$@"); COMP_CWORD=$#
COMP_LINE="vigie $*"; COMP_POINT=${#COMP_LINE}
_vigie vigie "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["ro"], {"rollback"}),
        (["run", "--mode", ""], {"dev", "prod"}),
        (["run", "--steps", "tra"], {"train", "transform"}),
        (["db", "st"], {"start", "status", "stop"}),
        (["check", "--skip-check", "d"], {"dev", "declaration", "disk"}),
        (["run", "--exp"], {"--explain"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_bash(scripts: Path, typed: list[str], offered: set[str]) -> None:
    assert set(ask("bash", "-c", BASH, str(scripts), *typed)) == offered


def test_fish(scripts: Path) -> None:
    command = f"source {scripts}/vigie.fish; complete -C 'vigie run --mode '"
    assert {"dev", "prod"} <= set(ask("fish", "--no-config", "-c", command))


def test_zsh(scripts: Path) -> None:
    command = (
        f"autoload -Uz compinit && compinit -D -u && source {scripts}/vigie.zsh && "
        "echo $_comps[vigie] && whence -w _cyclopts_vigie"
    )
    said = ask("zsh", "-f", "-c", command)
    assert said == ["_cyclopts_vigie", "_cyclopts_vigie:", "function"]
