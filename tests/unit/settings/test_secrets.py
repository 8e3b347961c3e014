""".env and vigie.toml as they come, and passwords that nobody gets to see."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from tests.unit.settings.loading import CANARY, Load, error_of, secret
from vigie.errors import SettingsError
from vigie.settings import (
    load_settings,
)


# --- files as they come ---------------------------------------------------------------------------
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


# --- secrets --------------------------------------------------------------------------------------
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
