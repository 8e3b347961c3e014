"""Settings: layers, origins, errors, secrets, and the files that ship with the project."""

import json
import re
import tomllib
from collections.abc import Callable
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vigie.errors import ExitCode, SettingsError
from vigie.i18n import use_language
from vigie.settings import (
    DEFAULT_MODES,
    LoadedSettings,
    Origin,
    Settings,
    find_project,
    load_settings,
)
from vigie.settings_schema import (
    DATABASE_KEYS,
    expected,
    leaves,
    mask_url,
    parse_url,
    readings,
    replace_in_url,
)
from vigie.settings_sources import nearest_key, variable_name

ROOT = Path(__file__).resolve().parents[2]
CANARY = "c4n4ry-Pässw0rd"
URL = "postgresql://ann:pw@one:5433/first"

Load = Callable[..., LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load settings from texts; .env is closed to others, as it should be."""

    def load_texts(
        toml: str | None = None,
        dotenv: str | None = None,
        environ: dict[str, str] | None = None,
        **options: Any,
    ) -> LoadedSettings:
        if toml is not None:
            (tmp_path / "vigie.toml").write_text(toml, encoding="utf-8")
        if dotenv is not None:
            path = tmp_path / ".env"
            path.write_text(dotenv, encoding="utf-8")
            path.chmod(0o600)
        return load_settings(tmp_path, environ=environ or {}, **options)

    return load_texts


def error_of(load: Load, *args: Any, **kwargs: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(*args, **kwargs)
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value


def secret(settings: LoadedSettings, key: str) -> str | None:
    value = settings.get(key)
    assert value is None or isinstance(value, SecretStr)
    return None if value is None else value.get_secret_value()


# --- defaults and the shape of the API ---------------------------------------------------------


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


# --- precedence and origins --------------------------------------------------------------------

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


# --- the database's address --------------------------------------------------------------------

E, T, D = "environ", "toml", "dotenv"


@pytest.mark.parametrize(
    ("sources", "url", "parts"),
    [
        ({D: {"DB_HOST": "one"}}, None, ("one", 5432, None, None, None)),
        (
            {D: {"DB_HOST": "one", "DB_PORT": "1", "DB_NAME": "n", "DB_USER": "u"}},
            None,
            ("one", 1, "n", "u", None),
        ),
        ({D: {"DATABASE_URL": URL}}, URL, (None, 5432, None, None, None)),
        # the same layer: the address goes before its parts
        ({D: {"DATABASE_URL": URL, "DB_HOST": "two"}}, URL, (None, 5432, None, None, None)),
        # a higher layer's address replaces all parts
        (
            {D: {"DB_HOST": "one", "DB_USER": "u"}, E: {"DATABASE_URL": URL}},
            URL,
            (None, 5432, None, None, None),
        ),
        # a higher layer's host beats an address, and inherits nothing from it
        ({D: {"DATABASE_URL": URL}, E: {"DB_HOST": "two"}}, None, ("two", 5432, None, None, None)),
        (
            {D: {"DATABASE_URL": URL, "DB_USER": "u"}, E: {"DB_HOST": "two"}},
            None,
            ("two", 5432, None, "u", None),
        ),
        # parts are replaced one by one
        (
            {D: {"DB_HOST": "one", "DB_NAME": "n"}, E: {"DB_NAME": "m", "DB_PASSWORD": "p"}},
            None,
            ("one", 5432, "m", None, "p"),
        ),
        # also in an address
        (
            {D: {"DATABASE_URL": URL}, E: {"DB_PASSWORD": "p@/#", "DB_NAME": "m"}},
            "postgresql://ann:p%40%2F%23@one:5433/m",
            (None, 5432, None, None, None),
        ),
        # the generic names mean the same
        ({E: {"VIGIE_DATABASE__HOST": "one"}}, None, ("one", 5432, None, None, None)),
        ({E: {"VIGIE_DATABASE__URL": URL}}, URL, (None, 5432, None, None, None)),
        # a host is not needed
        ({E: {"DB_NAME": "n"}}, None, ("localhost", 5432, "n", None, None)),
    ],
)
def test_addresses(
    load: Load, sources: dict[str, dict[str, str]], url: str | None, parts: tuple[Any, ...]
) -> None:
    dotenv = "".join(f"{name}={value}\n" for name, value in sources.get(D, {}).items())
    settings = load(dotenv=dotenv, environ=sources.get(E))
    assert secret(settings, "database.url") == url
    found = [settings.get(key) for key in DATABASE_KEYS[1:5]]
    assert (*found, secret(settings, "database.password")) == parts
    assert settings.database_configured


def test_address_in_toml_gives_way(load: Load) -> None:
    toml = '[database]\nurl = "postgresql://ann@one/first"\n'
    settings = load(toml=toml, dotenv="DB_HOST=two\n")
    assert settings.get("database.host") == "two"
    assert settings.get("database.url") is None


def test_notes_about_addresses(load: Load) -> None:
    settings = load(
        dotenv=f"DATABASE_URL={URL}\nDB_HOST=two\nDB_PASSWORD={CANARY}\n",
        environ={"DB_USER": "bob"},
    )
    assert settings.notes == (
        ".env DATABASE_URL goes before .env DB_HOST, .env DB_PASSWORD: they are not used.",
    )
    rows = {row.key: (row.value, str(row.origin)) for row in settings.rows()}
    assert rows["database.url"] == (
        "postgresql://bob:***@one:5433/first",
        ".env DATABASE_URL, DB_USER",
    )
    assert rows["database.port"][0] == "(in database.url)"


def test_note_about_a_missing_host(load: Load) -> None:
    settings = load(environ={"DB_NAME": "n"})
    assert settings.notes == ("environment DB_NAME without a host: localhost is used.",)


@pytest.mark.parametrize(("port", "configured"), [("5432", False), ("5433", True)])
def test_a_port_alone(load: Load, port: str, configured: bool) -> None:
    assert load(environ={"DB_PORT": port}).database_configured is configured


def test_note_about_two_names_for_one_setting(load: Load) -> None:
    settings = load(environ={"DB_HOST": "one", "VIGIE_DATABASE__HOST": "two"})
    assert settings.get("database.host") == "two"
    assert settings.notes == ("VIGIE_DATABASE__HOST goes before DB_HOST, which means the same.",)


def test_note_about_a_password_in_toml(load: Load) -> None:
    settings = load(toml=f'[database]\nhost = "h"\npassword = "{CANARY}"\n')
    assert settings.notes == ("vigie.toml holds a password: .env is the place for it.",)


GOOD_URLS = {
    "postgresql://ann:p4ss@db/x": "postgresql://ann:***@db/x",
    "postgresql+psycopg://ann:p4ss@db:5432/x": "postgresql+psycopg://ann:***@db:5432/x",
    "postgres://ann@[::1]:5432/x?sslmode=require": "postgres://ann@[::1]:5432/x?sslmode=require",
    "postgresql:///x?host=/run&user=ann&password=p4ss": (
        "postgresql:///x?host=/run&user=ann&password=***"
    ),
    "postgresql://:p4ss@one:1,two:2/x": "postgresql://:***@one:1,two:2/x",
}


@pytest.mark.parametrize("url", GOOD_URLS)
def test_urls(load: Load, url: str) -> None:
    settings = load(environ={"DATABASE_URL": url})
    assert secret(settings, "database.url") == url
    assert replace_in_url(url, {}) == url
    assert {row.key: row.value for row in settings.rows()}["database.url"] == GOOD_URLS[url]


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://ann:{CANARY}@db/x",
        f"host=db password={CANARY}",
        f"postgresql://ann:{CANARY}@more@db/x",
        f"postgresql://ann:{CANARY}/more@db/x",
        f"postgresql://ann:12/{CANARY}@db/x",
        f"postgresql://ann:{CANARY}#more@db/x",
        f"postgresql://ann:{CANARY}%zz@db/x",
        f"postgresql://ann:{CANARY} @db/x",
        "postgresql://" + "a" * 5000 + "!@" + CANARY + "@",
    ],
)
def test_bad_urls_are_not_shown(load: Load, url: str) -> None:
    error = error_of(load, dotenv=f"DATABASE_URL='{url}'")
    assert str(error) == (
        "database.url is not a value that it can take.\n"
        ".env DATABASE_URL\n"
        "Expected: postgresql://user:password@host:port/name, "
        "special characters of user and password percent-encoded."
    )
    assert CANARY not in mask_url(url)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text("ab%@:/?#é ", max_size=9)
)
def test_any_password_fits_into_a_url(password: str, user: str) -> None:
    url = replace_in_url("postgresql://ann@db/x?a=b", {"password": password, "user": user})
    match = parse_url(url)
    assert match is not None
    assert mask_url(url).count("***") >= 1
    assert mask_url(url).endswith(":***@db/x?a=b")


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        (
            {"toml": "seed = 1\ncutof_days = 90\n"},
            "There is no setting called cutof_days.\nvigie.toml line 2\nDid you mean cutoff_days?",
        ),
        (
            {"toml": "[modes.dev]\nn_estimators = 50\n"},
            ("There is no setting called modes.dev.n_estimators.\nvigie.toml line 2\n"
            "Did you mean modes.dev.model_params.n_estimators?"),
        ),
        (
            {"toml": "\n[mode.dev]\nsample_size = 50\n"},
            "There is no setting called mode.\nvigie.toml line 2\nDid you mean modes?",
        ),
        (
            {"toml": "[modes.staging]\nsample_size = 50\n"},
            "There is no setting called modes.staging.\nvigie.toml line 1\nThere are: dev, prod.",
        ),
        (
            {"toml": "[modes.dev]\nsample_size = 'many'\n"},
            ('modes.dev.sample_size = "many" is of the wrong type.\nvigie.toml line 2\n'
            'Expected: a whole number (at least 1) or "all".'),
        ),
        (
            {"toml": "modes = {dev = {sample_size = '5000'}}\n"},
            ('modes.dev.sample_size = "5000" is of the wrong type.\nvigie.toml line 1\n'
            'Expected: a whole number (at least 1) or "all". Write it without quotes.'),
        ),
        (
            {"toml": "cutoff_days = 1001\n"},
            ("cutoff_days = 1001 is out of range.\nvigie.toml line 1\n"
            "Expected: a whole number (at least -365, at most 1000)."),
        ),
        (
            {"toml": "cutoff_days = true\n"},
            ("cutoff_days = true is of the wrong type.\nvigie.toml line 1\n"
            "Expected: a whole number (at least -365, at most 1000)."),
        ),
        (
            {"toml": "extract.max_rejected = nan\n"},
            ("extract.max_rejected = NaN is of the wrong type.\nvigie.toml line 1\n"
            "Expected: a number (at least 0, at most 1)."),
        ),
        (
            {"toml": "seed = [1, 2]\n"},
            ("seed = […] is of the wrong type.\nvigie.toml line 1\n"
            "Expected: a whole number (at least 0, at most 4294967295)."),
        ),
        (
            {"toml": "predict = 3\n"},
            ("predict is a section, not a value.\nvigie.toml line 1\n"
            "Names in it: low, high, threshold, capacity, recall, missed_per_alarm."),
        ),
        (
            {"environ": {"VIGIE_CUTOFF_DAYS": "ninety"}},
            ('cutoff_days = "ninety" is of the wrong type.\nenvironment VIGIE_CUTOFF_DAYS\n'
            "Expected: a whole number (at least -365, at most 1000)."),
        ),
        (
            {"environ": {"VIGIE_CUTOFF_DAY": "90"}},
            ("There is no setting called VIGIE_CUTOFF_DAY.\nenvironment VIGIE_CUTOFF_DAY\n"
            "Did you mean VIGIE_CUTOFF_DAYS?"),
        ),
        (
            {"dotenv": "VIGIE_SAMPLE_SIZE=90\n"},
            ("There is no setting called VIGIE_SAMPLE_SIZE.\n.env VIGIE_SAMPLE_SIZE\n"
            "Did you mean VIGIE_MODES__DEV__SAMPLE_SIZE?"),
        ),
        (
            {"flags": {"lang": "de"}},
            ('lang = "de" is not a value that it can take.\n--lang\n'
            'Expected: "en", "fr" or "auto".'),
        ),
        (
            {"dotenv": "DB_PORT=70000\n"},
            ("database.port is out of range.\n.env DB_PORT\n"
            "Expected: a whole number (at least 1, at most 65535)."),
        ),
        (
            {"dotenv": f"DB_HOST=postgresql://ann:{CANARY}@db\n"},
            ("database.host is not a value that it can take.\n.env DB_HOST\n"
            "Expected: a host name or a socket folder; an address goes into DATABASE_URL."),
        ),
        (
            {"toml": "engine.memory_limit = '2 gigs'\n"},
            ('engine.memory_limit = "2 gigs" is not a value that it can take.\nvigie.toml line 1\n'
            'Expected: a size such as "1GB", or "auto".'),
        ),
        (
            {"toml": '[engine]\njoblib = "dask"\n'},
            ("engine.joblib = dask does not go with engine.dask_scheduler = none.\n"
            "vigie.toml line 2, default\n"
            "Name the scheduler's address in engine.dask_scheduler,"
            " or take another engine.joblib."),
        ),
        (
            {"toml": '[engine]\ndask_scheduler = "host:8786"\n'},
            ('engine.dask_scheduler = "host:8786" is not a value that it can take.\n'
            "vigie.toml line 2\n"
            'Expected: an address such as "tcp://host:8786", or "none".'),
        ),
        (
            {"toml": "[predict]\nlow = 0.8\n"},
            ("predict.low = 0.8 is above predict.high = 0.7.\nvigie.toml line 2, default\n"
            "Raise predict.high or lower predict.low."),
        ),
        (
            {"environ": {"VIGIE_MODES__DEV__MODEL_PARAMS__BOOTSTRAP": "no"},
             "toml": "modes.dev.model_params.max_samples = 0.5\n"},
            ("modes.dev.model_params.max_samples = 0.5 does not go with"
            " modes.dev.model_params.bootstrap = false.\n"
            "vigie.toml line 1, environment VIGIE_MODES__DEV__MODEL_PARAMS__BOOTSTRAP\n"
            "Change one of modes.dev.model_params.max_samples"
            " and modes.dev.model_params.bootstrap."),
        ),
    ],
)  # fmt: skip
def test_errors(load: Load, sources: dict[str, Any], text: str) -> None:
    assert str(error_of(load, **sources)) == text


def test_all_problems_at_once(load: Load) -> None:
    error = error_of(
        load,
        toml="sede = 1\ncutoff_days = 'x'\n",
        dotenv="DB_PORT=abc\n",
        environ={"VIGIE_SEED": "-1", "VIGIE_CUTOFF_DAYS": "90"},
    )
    assert str(error) == (
        "4 settings are wrong:\n"
        "  - vigie.toml line 1: There is no setting called sede. Did you mean seed?\n"
        '  - vigie.toml line 2: cutoff_days = "x" is of the wrong type.'
        " Expected: a whole number (at least -365, at most 1000).\n"
        "  - .env DB_PORT: database.port is of the wrong type."
        " Expected: a whole number (at least 1, at most 65535).\n"
        "  - environment VIGIE_SEED: seed = -1 is out of range."
        " Expected: a whole number (at least 0, at most 4294967295)."
    )


def test_bounds_meet_across_layers(load: Load) -> None:
    settings = load(toml="[predict]\nlow = 0.8\n", environ={"VIGIE_PREDICT__HIGH": "0.9"})
    assert (settings.get("predict.low"), settings.get("predict.high")) == (0.8, 0.9)


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        ("seed = 1\nlang = fr\n", "vigie.toml line 2, column 8"),
        ("seed = 1\nseed = 2\n", "vigie.toml line 2, column 9"),
        ('lang = "fr', "vigie.toml line 1, column 11"),
        ("[modes.dev\n", "vigie.toml line 1, column 11"),
        ('database = {password = "' + CANARY + '"\n', "vigie.toml line 1, column 41"),
    ],
)
def test_toml_syntax(load: Load, toml: str, where: str) -> None:
    error = error_of(load, toml=toml)
    assert error.what.startswith("vigie.toml is not valid TOML: ")
    assert error.where == where
    assert CANARY not in str(error)
    assert "(at " not in error.what


def test_errors_in_french(load: Load) -> None:
    use_language("fr")
    try:
        assert error_of(load, environ={"VIGIE_SEED": "x"}).where
    finally:
        use_language("en")


# --- files as they come ------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings(tmp_path: Path, encoding: str, newline: str) -> None:
    dotenv = newline.join(["# mot de passe de la base, gardé ici", "DB_HOST=hôte", "DB_NAME=n", ""])
    toml = newline.join(["# données", "seed = 7", ""])
    (tmp_path / ".env").write_bytes(dotenv.encode(encoding))
    (tmp_path / ".env").chmod(0o600)
    (tmp_path / "vigie.toml").write_bytes(toml.encode(encoding))
    settings = load_settings(tmp_path, environ={})
    assert settings.get("database.host") == "hôte"
    assert settings.get("database.name") == "n"
    assert settings.get("seed") == 7
    assert str(settings.origins["seed"]) == "vigie.toml line 2"
    expected_notes = () if encoding != "cp1252" else (
        "vigie.toml line 1 is not UTF-8: read as Windows-1252.",
        ".env line 1 is not UTF-8: read as Windows-1252.",
    )  # fmt: skip
    assert settings.notes == expected_notes


def test_undecodable_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=b\nDB_HOST=\x81\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ={})
    assert str(caught.value) == ".env is not UTF-8.\n.env line 2\nSave it as UTF-8."


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("DB_PASSWORD='a#b $HOME \"q\"'", 'a#b $HOME "q"'),
        ('DB_PASSWORD="a#b"', "a#b"),
        ("DB_PASSWORD=a$HOME${PATH}", "a$HOME${PATH}"),
        ("export DB_PASSWORD=a=b", "a=b"),
        ("DB_PASSWORD=5", "5"),
        ("DB_PASSWORD=none", "none"),
        ("DB_PASSWORD=' a '", " a "),
    ],
)
def test_passwords_stay_as_they_are(load: Load, line: str, password: str) -> None:
    assert secret(load(dotenv=line), "database.password") == password


def test_dotenv_agrees_with_python_dotenv(load: Load) -> None:
    text = "A='x'\nDB_USER = \"a\\tb\"  # why\nexport DB_NAME=n # that\nDB_HOST=h#h\n"
    text = text.replace("\\t", "t")
    settings = load(dotenv=text)
    wanted = dotenv_values(stream=StringIO(text), interpolate=False)
    for part in ("USER", "NAME", "HOST"):
        assert settings.get(f"database.{part.lower()}") == wanted[f"DB_{part}"]


def test_unreadable_lines_of_dotenv_are_named_not_shown(load: Load) -> None:
    settings = load(dotenv=f"VIGIE_SEED=3\nDB_PASSWORD='{CANARY}\nDB_HOST=h\n")
    assert settings.get("seed") == 3
    assert settings.notes[0] == ".env line 2 is not NAME=value and was left out."


def test_open_dotenv_is_noted(load: Load, tmp_path: Path) -> None:
    load(dotenv="DB_HOST=h\n")
    path = tmp_path / ".env"
    path.chmod(0o640)
    assert load().notes == (
        f".env can be read by other users of this machine: chmod 600 {path}",
    )  # fmt: skip


def test_a_folder_called_dotenv(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load().notes == ()


# --- secrets -----------------------------------------------------------------------------------

SECRET_SOURCES = [
    {"dotenv": f"DB_HOST=h\nDB_PASSWORD={CANARY}\n"},
    {"environ": {"DB_PASSWORD": CANARY, "DATABASE_URL": f"postgresql://ann:{CANARY}@db/x"}},
    {"environ": {"DATABASE_URL": f"postgresql:///x?password={CANARY}"}},
    {"toml": f'database = {{ host = "h", password = "{CANARY}" }}\n'},
    {"flags": {"database.password": CANARY}},
]
BROKEN = [
    {"environ": {"DB_PORT": CANARY}},
    {"environ": {"DB_HOST": f"postgresql://ann:{CANARY}@db"}},
    {"environ": {"DB_NAME": f"postgresql://ann:{CANARY}@db"}},
    {"environ": {"DB_USER": f"postgresql://ann:{CANARY}@db"}},
    {"environ": {"DATABASE_URL": CANARY}},
    {"toml": f'[database]\npasword = "{CANARY}"\n'},
    {"toml": f'[database]\npassword = ["{CANARY}"]\n'},
    {"toml": f'database = "{CANARY}"\n'},
    {"toml": f'password = "{CANARY}"\n'},
    {"dotenv": f"VIGIE_DB_PASSWORD={CANARY}\n"},
]


@pytest.mark.parametrize("sources", SECRET_SOURCES)
def test_no_password_in_anything_shown(load: Load, sources: dict[str, Any]) -> None:
    settings = load(**sources)
    assert settings.database_configured
    shown = [
        repr(settings),
        str(settings),
        repr(settings.values),
        str(settings.values),
        repr(settings.values.database),
        repr(settings.get("database")),
        repr(settings.rows()),
        str(settings.notes),
        repr(settings.origins),
        settings.values.model_dump_json(),
        json.dumps([[row.key, row.value, str(row.origin)] for row in settings.rows()]),
    ]
    for text in shown:
        assert CANARY not in text
        assert "P\\u00e4ssw0rd" not in text
        assert "Pässw0rd" not in text


@pytest.mark.parametrize("sources", BROKEN)
def test_no_password_in_errors(load: Load, sources: dict[str, Any]) -> None:
    error = error_of(load, **sources)
    for text in (str(error), repr(error), error.what, str(error.where), str(error.fix)):
        assert "Pässw0rd" not in text
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


# --- helpers -----------------------------------------------------------------------------------


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


# --- files that ship ---------------------------------------------------------------------------


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
