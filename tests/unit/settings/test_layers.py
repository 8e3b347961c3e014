"""Layers, origins, values, names, and the files that ship with the project."""

import re
import tomllib
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from tests.unit.settings.loading import ROOT, Load, error_of, secret
from vigie.settings import (
    DEFAULT_MODES,
    Origin,
    Settings,
    find_project,
)
from vigie.settings_schema import (
    expected,
    leaves,
    readings,
)
from vigie.settings_sources import nearest_key, variable_name


# --- defaults and the shape of the API ------------------------------------------------------------
def test_defaults(load: Load) -> None:
    settings = load()
    assert settings.values == Settings()
    assert settings.get("modes.dev.sample_size") == 5000
    assert settings.get("modes.prod.sample_size") is None
    assert settings.get("modes.dev") == {
        "sample_size": 5000,
        "n_splits_cv": 3,
        "model_params": {
            "n_estimators": 100,
            "criterion": "gini",
            "max_depth": None,
            "min_samples_split": 2,
            "min_samples_leaf": 10,
            "max_features": "log2",
            "class_weight": None,
            "max_samples": 0.5,
            "bootstrap": True,
        },
        "backup": False,
    }
    assert settings.get("modes.prod.backup") is True
    assert settings.get("modes.prod.model_params") == {
        **settings.get("modes.dev.model_params"),
        "n_estimators": 200,
    }
    assert {str(origin) for origin in settings.origins.values()} == {"default"}
    assert settings.config_file is None
    assert settings.notes == ()
    assert not settings.database_configured


def test_every_leaf_has_a_row_an_origin_and_a_value(load: Load) -> None:
    settings = load()
    assert [row.key for row in settings.rows()] == list(leaves())
    assert set(settings.origins) == set(leaves())
    for row in settings.rows():
        settings.get(row.key)
        assert isinstance(row.value, str)
        assert row.value


def test_default_modes_keep_the_name_of_their_place(load: Load) -> None:
    place = "src/pipeline/orchestrator.py"
    modes = {"dev": {"sample_size": 700, "model_params": {"max_depth": 9}}}
    settings = load(default_modes=modes, default_modes_origin=place)
    assert settings.get("modes.dev.sample_size") == 700
    assert settings.get("modes.dev.model_params.max_depth") == 9
    assert settings.get("modes.dev.model_params.n_estimators") == 100
    assert settings.get("modes.prod.n_splits_cv") == 5
    assert settings.origins["modes.dev.sample_size"] == Origin("default", place)
    assert str(settings.origins["modes.prod.sample_size"]) == "default"


def test_default_modes_agree_with_the_schema(load: Load) -> None:
    assert load(default_modes={}).values == load(default_modes=DEFAULT_MODES).values


def test_unknown_key_in_default_modes_names_the_door(load: Load) -> None:
    modes = {"dev": {"model_params": {"random_state": 42, "n_estimator": 5}}}
    error = error_of(load, default_modes=modes, default_modes_origin="orchestrator.py")
    assert str(error) == (
        "2 settings are wrong:\n"
        "  - orchestrator.py: There is no setting called modes.dev.model_params.random_state."
        " Did you mean seed?\n"
        "  - orchestrator.py: There is no setting called modes.dev.model_params.n_estimator."
        " Did you mean modes.dev.model_params.n_estimators?"
    )


def test_get_of_an_unknown_key(load: Load) -> None:
    with pytest.raises(KeyError, match=r"modes\.dev\.sample_size"):
        load().get("modes.dev.sampel_size")


def test_settings_are_frozen(load: Load) -> None:
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.values.seed = 1
    with pytest.raises(TypeError):
        settings.origins["seed"] = Origin("flag", "--seed")  # type: ignore[index]


def test_find_project(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below) == below
    (tmp_path / "vigie.toml").touch()
    assert find_project(below) == tmp_path
    assert find_project(tmp_path) == tmp_path


# --- precedence and origins -----------------------------------------------------------------------
LAYERS: dict[str, dict[str, Any]] = {
    "vigie.toml": {"toml": "seed = 1\n\n[modes.dev]\nn_splits_cv = 4\n"},
    ".env": {"dotenv": "VIGIE_SEED=2\n"},
    "environment": {"environ": {"VIGIE_SEED": "3"}},
    "flag": {"flags": {"seed": 4}},
}
SEED_ORIGINS = {
    "vigie.toml": (1, "vigie.toml line 1", "vigie.toml line 1"),
    ".env": (2, ".env VIGIE_SEED", ".env VIGIE_SEED"),
    "environment": (3, "VIGIE_SEED", "environment VIGIE_SEED"),
    "flag": (4, "--seed", "--seed"),
}


@pytest.mark.parametrize("subset", range(1, 16))
def test_the_highest_layer_holds(load: Load, subset: int) -> None:
    names = [name for bit, name in enumerate(LAYERS) if subset >> bit & 1]
    options: dict[str, Any] = {}
    for name in names:
        options |= LAYERS[name]
    settings = load(**options)
    value, detail, shown = SEED_ORIGINS[names[-1]]
    assert settings.get("seed") == value
    assert settings.origins["seed"] == Origin(names[-1], detail)  # type: ignore[arg-type]
    assert str(settings.origins["seed"]) == shown


def test_layers_mix_key_by_key(load: Load) -> None:
    settings = load(
        toml="[modes.dev]\nsample_size = 10\nn_splits_cv = 4\nmodel_params.n_estimators = 7\n",
        environ={"VIGIE_MODES__DEV__SAMPLE_SIZE": "20"},
        flags={"cutoff_days": 90, "lang": None},
    )
    assert settings.get("modes.dev.sample_size") == 20
    assert settings.get("modes.dev.n_splits_cv") == 4
    assert settings.get("modes.dev.model_params.n_estimators") == 7
    assert settings.get("modes.prod.model_params.n_estimators") == 200
    assert str(settings.origins["modes.dev.model_params.n_estimators"]) == "vigie.toml line 4"
    assert str(settings.origins["cutoff_days"]) == "--cutoff-days"
    assert settings.get("lang") is None


def test_config_file_replaces_vigie_toml(load: Load, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    other = tmp_path / "conf" / "other.toml"
    other.write_text("\ncutoff_days = 60\n", encoding="utf-8")
    settings = load(toml="seed = 1\n", config_file=other)
    assert settings.get("seed") == 42
    assert settings.config_file == other
    assert settings.origins["cutoff_days"] == Origin("vigie.toml", "conf/other.toml line 2")


def test_config_file_must_exist(load: Load, tmp_path: Path) -> None:
    error = error_of(load, config_file=tmp_path / "absent.toml")
    assert error.what == "The settings file does not exist."
    assert error.where is not None
    assert error.where.endswith("absent.toml")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("cutoff_days", "90", 90),
        ("cutoff_days", " -30 ", -30),
        ("modes.dev.sample_size", "all", None),
        ("modes.dev.sample_size", "ALL", None),
        ("modes.dev.sample_size", "none", None),
        ("modes.dev.model_params.max_features", "5", 5),
        ("modes.dev.model_params.max_features", "1.0", 1.0),
        ("modes.dev.model_params.max_features", "log2", "log2"),
        ("modes.dev.model_params.bootstrap", "no", False),
        ("evaluation.drop_repeaters", "1", True),
        ("extract.max_rejected", "0", 0.0),
        ("extract.max_rejected", "1e-3", 0.001),
        ("dataset", "2013", "2013"),
        ("lang", "fr", "fr"),
        ("lang", "auto", None),
        ("engine.threads", "all", None),
        ("engine.memory_limit", "1GB", "1GB"),
        ("engine.joblib", "loky", "loky"),
        ("engine.dask_scheduler", "tcp://10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("engine.dask_scheduler", "none", None),
        ("database.user", "true", "true"),
        ("database.name", "none", "none"),
    ],
)
def test_texts_become_values(load: Load, key: str, text: str, value: Any) -> None:
    found = load(environ={variable_name(key): text}).get(key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("toml", "key", "value"),
    [
        ('modes.dev.sample_size = "all"', "modes.dev.sample_size", None),
        ("modes = { dev = { n_splits_cv = 9 } }", "modes.dev.n_splits_cv", 9),
        ("predict.low = 0", "predict.low", 0.0),
        ('[modes.dev.model_params]\nmax_depth = "none"', "modes.dev.model_params.max_depth", None),
        ('database.host = ""', "database.host", None),
    ],
)
def test_toml_values(load: Load, toml: str, key: str, value: Any) -> None:
    assert load(toml=toml).get(key) == value


def test_empty_variables_count_as_not_given(load: Load) -> None:
    settings = load(dotenv="DB_HOST=\nVIGIE_SEED=\nDB_PORT\n", environ={"VIGIE_SEED": " "})
    assert settings.get("seed") == 42
    assert not settings.database_configured


def test_other_variables_are_left_alone(load: Load) -> None:
    settings = load(dotenv="SECRET_KEY=x\nPATH=y\n", environ={"HOME": "z", "DB_ENGINE": "pg"})
    assert settings.values == Settings()
    assert settings.notes == ()


# --- helpers --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("sampel_size", "modes.dev.sample_size"),
        ("modes.prod.sampel_size", "modes.prod.sample_size"),
        ("modes.prod.max_depth", "modes.prod.model_params.max_depth"),
        ("random_state", "seed"),
        ("cutoff-days", "cutoff_days"),
        ("xyzzy", None),
    ],
)
def test_nearest_key(typed: str, nearest: str | None) -> None:
    assert nearest_key(typed) == nearest


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5", [5, 5.0, "5"]),
        ("1", [1, 1.0, True, "1"]),
        ("off", [False, "off"]),
        ("inf", ["inf"]),
        ("9" * 5000, ["9" * 5000]),
    ],
)
def test_readings(text: str, values: list[Any]) -> None:
    assert list(readings(text)) == values


@pytest.mark.parametrize("key", leaves())
def test_every_setting_says_what_it_expects(key: str) -> None:
    assert expected(key)


# --- files that ship ------------------------------------------------------------------------------
def uncommented(text: str) -> str:
    """Return `text` with every setting in it switched on: explanations keep their "# "."""
    return re.sub(r"(?m)^#(?=[A-Za-z_])", "", text)


def toml_leaves(tree: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in tree.items():
        inner = isinstance(value, dict)
        found |= toml_leaves(value, f"{prefix}{name}.") if inner else {prefix + name}
    return found


def test_shipped_toml_sets_nothing(load: Load) -> None:
    text = (ROOT / "vigie.toml").read_text("utf-8")
    assert toml_leaves(tomllib.loads(text)) == set()
    modes = {"dev": {"sample_size": 1}}
    settings = load(toml=text, default_modes=modes)
    assert settings.values == load(default_modes=modes).values
    assert {origin.layer for origin in settings.origins.values()} == {"default"}


def test_shipped_toml_holds_every_default(load: Load) -> None:
    text = uncommented((ROOT / "vigie.toml").read_text("utf-8"))
    assert toml_leaves(tomllib.loads(text)) == set(leaves())
    settings = load(toml=text)
    assert settings.values == Settings()
    assert settings.notes == ()


def test_shipped_toml_explains_every_setting() -> None:
    lines = (ROOT / "vigie.toml").read_text("utf-8").splitlines()
    for above, line in pairwise(lines):
        if re.match(r"#[a-z]", line):
            assert above.startswith("# "), f"{line} has no explanation"


def test_shipped_dotenv(load: Load) -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    assert not dotenv_values(stream=StringIO(text))
    values = dotenv_values(stream=StringIO(uncommented(text)), interpolate=False)
    assert set(values) == {
        "DB_HOST",
        "DB_PORT",
        "DB_NAME",
        "DB_USER",
        "DB_PASSWORD",
        "DATABASE_URL",
        "VIGIE_CUTOFF_DAYS",
        "VIGIE_MODES__DEV__SAMPLE_SIZE",
    }
    settings = load(dotenv=uncommented(text))
    assert settings.database_configured
    assert settings.get("cutoff_days") == 180
    parts = load(dotenv=re.sub(r"(?m)^DATABASE_URL.*", "", uncommented(text)))
    assert secret(parts, "database.password") == "change me"
    for line in re.findall(r"(?m)(.*\n.*)\n#[A-Z_]+=", text):
        assert all(part.startswith("# ") for part in line.split("\n")), line
