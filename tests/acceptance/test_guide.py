"""Every command of the guide, as it is written, in a copy of the checkout.

The commands come out of the guides themselves, so that a command that is added there is run here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.acceptance.project import Checkout
from tests.conftest import ROOT

GUIDES = {
    "guide.fr.md": ROOT / "docs" / "guide.fr.md",
    "guide.md": ROOT / "docs" / "guide.md",
    "the user's own": ROOT.parent / "shared" / "guide-fr.md",
}


def commands_of(guide: Path) -> list[str]:
    """Return the commands of the bash blocks, without comments, each once."""
    blocks = re.findall(r"^```bash\n(.*?)^```", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"\s+#.*$", "", line).strip() for block in blocks for line in block.split("\n")]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


ALL_COMMANDS = list(
    dict.fromkeys(
        command for guide in GUIDES.values() if guide.exists() for command in commands_of(guide)
    )
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the checkout with an environment of its own and small data in data/raw."""
    root = tmp_path_factory.mktemp("guide")
    made = Checkout.copy(root / "vigie", enrolments=900)
    environment = root / "venv"
    venv.create(environment, with_pip=True, symlinks=True)
    # What the tests run with is there as well, so that `pip install -e .` only adds vigie.
    site = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (site / "outer.pth").write_text(f"{packages}\n")
    made.environ["PATH"] = f"{environment / 'bin'}:{made.environ['PATH']}"
    made.environ["VIRTUAL_ENV"] = str(environment)
    shutil.copy(ROOT / ".env.example", made.folder / ".env")
    installed = made.bash("pip install -e .")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return made


def test_the_guides_name_the_same_commands() -> None:
    french, english = commands_of(GUIDES["guide.fr.md"]), commands_of(GUIDES["guide.md"])
    assert french == english
    if GUIDES["the user's own"].exists():
        assert set(commands_of(GUIDES["the user's own"])) <= set(french)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_a_command_of_the_guide_works_as_written(checkout: Checkout, command: str) -> None:
    if "--mode prod --steps" in command or "vigie backup" in command:
        # The guide runs these after a whole run; alone, they need its results.
        first = checkout.bash("python -m src.pipeline.orchestrator --mode prod")
        assert first.returncode == 0, first.stdout + first.stderr
    done = checkout.bash(command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["dev", "prod"])
def test_the_guides_files_are_there(checkout: Checkout, mode: str) -> None:
    done = checkout.bash(f"python -m src.pipeline.orchestrator --mode {mode}")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        f"data/processed/features_{mode}.npy",
        f"data/processed/labels_{mode}.npy",
        f"data/processed/features_metadata_{mode}.json",
        f"models/random_forest_{mode}.pkl",
        f"models/model_metadata_{mode}.json",
        f"reports/predictions_{mode}.csv",
        f"reports/figures_{mode}/confusion_matrix.png",
        f"reports/figures_{mode}/roc_curve.png",
        f"reports/figures_{mode}/feature_importance.png",
        f"logs/pipeline_{mode}.log",
    ):
        assert (checkout.folder / name).stat().st_size > 0, name


def test_the_default_configuration_can_be_edited_where_the_guide_says(checkout: Checkout) -> None:
    door = checkout.folder / "src" / "pipeline" / "orchestrator.py"
    before = door.read_text("utf-8")
    try:
        door.write_text(before.replace('"n_splits_cv": 3', '"n_splits_cv": 4'), "utf-8")
        plan = checkout.bash("python -m src.pipeline.orchestrator --mode dev --explain --lang en")
        assert "`modes.dev.n_splits_cv` changed from 3 to 4" in plan.stdout
    finally:
        door.write_text(before, "utf-8")


def test_the_door_and_the_package_have_the_same_defaults() -> None:
    from src.pipeline.orchestrator import PipelineOrchestrator as Door
    from vigie.pipeline.orchestrator import PipelineOrchestrator

    assert Door()._get_default_config() == PipelineOrchestrator()._get_default_config()


def test_the_connection_string_is_what_libraries_take(checkout: Checkout) -> None:
    code = (
        "from src.data.load import create_connection_string as make; import psycopg, sqlalchemy;"
        "address = make();"
        "print(psycopg.connect(address).execute('select 41 + 1').fetchone()[0]);"
        "engine = sqlalchemy.create_engine(address);"
        "print(engine.connect().execute(sqlalchemy.text('select 6 * 7')).scalar())"
    )
    done = subprocess.run(
        ["python", "-c", code],
        cwd=checkout.folder,
        env=checkout.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["42", "42"], done.stderr
