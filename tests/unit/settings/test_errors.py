"""What is wrong with settings is told with place and fix."""

from typing import Any

import pytest

from tests.unit.settings.loading import CANARY, Load, error_of
from vigie.i18n import use_language


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
