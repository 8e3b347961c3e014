"""The database's address: all its spellings, and what is said of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.settings.loading import CANARY, URL, Load, error_of, secret
from vigie.settings_schema import (
    DATABASE_KEYS,
    mask_url,
    parse_url,
    replace_in_url,
)

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
