"""Addresses: what goes in comes out, for the drivers; the password is for nobody else."""

from __future__ import annotations

import copy
import logging
import pickle
import socket
import time
import traceback

import pytest
import sqlalchemy
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from vigie.data.address import (
    ConnectionString,
    DatabaseAddress,
    check_reachable,
    mask_password,
)
from vigie.errors import DatabaseError, DatabaseUnreachable, SettingsError

CANARY = "c4n4ry"
URL = f"postgresql://ann:{CANARY}@db:5433/x?sslmode=require&sslpassword={CANARY}"
# What PostgreSQL can hold at all: no NUL, no half of a surrogate pair.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


class TestRoundTrip:
    @given(WORDS, WORDS, WORDS)
    @example("a@b:c/d?e#f", "p@:/?#[]%41+ &='\"\\", "/n%2F am+e?é#")
    def test_everyone_reads_the_same_out_of_it(self, user: str, password: str, name: str) -> None:
        address = DatabaseAddress("db.example", 6543, name, user, password, {}, "here")
        url = address.url()
        assert DatabaseAddress.from_url(url, "here") == address
        libpq = conninfo_to_dict(url)
        assert (libpq["user"], libpq["password"], libpq["dbname"]) == (user, password, name)
        assert (libpq["host"], libpq["port"]) == ("db.example", "6543")
        made = sqlalchemy.make_url(url)
        assert (made.username, made.password, made.database) == (user, password, name)
        assert (made.host, made.port) == ("db.example", 6543)

    @given(st.dictionaries(st.sampled_from(["options", "sslmode", "application_name"]), WORDS))
    def test_options_stay(self, params: dict[str, str]) -> None:
        address = DatabaseAddress("db", 5432, "x", "ann", None, params)
        assert DatabaseAddress.from_url(address.url()).params == params
        assert conninfo_to_dict(address.url()).items() >= params.items()

    def test_a_plus_is_no_space(self) -> None:
        address = DatabaseAddress.from_url("postgresql://ann@db/x?application_name=a+b%20c")
        assert address.params == {"application_name": "a+b c"}
        assert conninfo_to_dict(address.url())["application_name"] == "a+b c"
        assert sqlalchemy.make_url(address.url()).query["application_name"] == "a+b c"

    @pytest.mark.parametrize(
        ("url", "host", "port"),
        [
            ("postgresql://ann@[::1]:5433/x", "::1", 5433),
            ("postgresql://ann@[2001:db8::7]/x", "2001:db8::7", 5432),
            ("postgresql://ann@/x?host=/run/a%20folder", "/run/a folder", 5432),
            ("postgresql://ann@/x?host=/run/pg&port=77", "/run/pg", 77),
            ("postgresql://ann@%2Frun%2Fpg/x", "/run/pg", 5432),
            ("postgresql+psycopg://ann@DB/x", "DB", 5432),
            ("postgres://ann@/x", "localhost", 5432),
        ],
    )
    def test_places(self, url: str, host: str, port: int) -> None:
        address = DatabaseAddress.from_url(url)
        assert (address.host, address.port, address.user, address.name) == (host, port, "ann", "x")
        libpq = conninfo_to_dict(address.url())
        assert (libpq["host"], libpq["port"]) == (host, str(port))
        assert DatabaseAddress.from_url(address.url()) == address

    @pytest.mark.parametrize(
        ("hosts", "names", "ports"),
        [
            ("h1:1,h2:2", "h1,h2", "1,2"),
            ("h1,h2:2", "h1,h2", "5432,2"),
            ("h1,h2", "h1,h2", "5432"),
            ("[::1]:1,h2:2", "::1,h2", "1,2"),
        ],
    )
    def test_several_hosts(self, hosts: str, names: str, ports: str) -> None:
        url = f"postgresql://ann@{hosts}/db?target_session_attrs=read-write"
        address = DatabaseAddress.from_url(url)
        libpq = conninfo_to_dict(address.url())
        assert (libpq["host"], libpq["port"], libpq["dbname"]) == (names, ports, "db")
        assert libpq["target_session_attrs"] == "read-write"
        assert DatabaseAddress.from_url(address.url()) == address

    def test_several_hosts_for_sqlalchemy(self) -> None:
        url = sqlalchemy.make_url(DatabaseAddress.from_url("postgresql://u@h1:1,h2:2/db").url())
        _args, given = sqlalchemy.create_engine(url).dialect.create_connect_args(url)
        assert (given["host"], given["port"], given["dbname"]) == ("h1,h2", "1,2", "db")

    def test_an_option_goes_before_the_same_part(self) -> None:
        text = f"postgresql://a:b@h/d?user=ann&password={CANARY}&dbname=x&host=db&port=7"
        expected = DatabaseAddress("db", 7, "x", "ann", CANARY)
        assert DatabaseAddress.from_url(text) == expected

    @pytest.mark.parametrize(
        "url",
        [
            f"mysql://ann:{CANARY}@db/x",
            f"postgresql://ann:{CANARY}@db:99999/x",
            f"postgresql://ann:{CANARY}@db:port/x",
            f"postgresql://ann:{CANARY}@db/x?port=seven",
            f"postgresql://ann:{CANARY}@h1,h2,h3/x?port=1,2",
            f"postgresql://ann:{CANARY}%zz@db/x",
            f"postgresql://ann:{CANARY}%00@db/x",
            f"postgresql://ann:{CANARY}/@db/x",
            f"host=db password={CANARY}",
            "",
        ],
    )
    def test_what_is_none_is_refused_and_not_shown(self, url: str) -> None:
        with pytest.raises(SettingsError) as caught:
            DatabaseAddress.from_url(url, "DATABASE_URL in .env")
        assert caught.value.where == "DATABASE_URL in .env"
        assert CANARY not in "".join(traceback.format_exception(caught.value))

    def test_single_settings(self) -> None:
        assert DatabaseAddress.from_parts("db", user="ann").name == "ann"
        assert DatabaseAddress.from_parts("db", name="x").user == "x"


class TestMasking:
    def test_no_printed_form_shows_it(
        self, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        address = DatabaseAddress.from_url(URL)
        url = address.url()
        assert CANARY in "".join(url)
        print(url, address, [url], {"url": url})
        for held in (url, address):
            logging.getLogger("canary").warning("at %s, %r", held, held)
            print(
                str(held),
                repr(held),
                f"{held} {held!r} {held!s} {held:>200}" if held is url else "",
            )
            print("%s %r" % (held, held), "{} {!r}".format(held, held))  # noqa: UP031, UP032
        print(url.masked, address.masked)
        printed = capsys.readouterr().out + caplog.text
        assert CANARY not in printed
        assert "ann:***@db:5433/x?sslmode=require&sslpassword=***" in printed

    def test_no_traceback_shows_it(self) -> None:
        url = DatabaseAddress.from_url(URL).url()
        for held in (url, DatabaseAddress.from_url(URL)):
            error = ValueError(held)
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert CANARY not in "".join(shown.format()) + repr(error) + str(error)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_copies_stay_whole_and_masked(self, protocol: int) -> None:
        url = DatabaseAddress.from_url(URL).url()
        for same in (
            pickle.loads(pickle.dumps(url, protocol)),
            copy.copy(url),
            copy.deepcopy([url])[0],
        ):
            assert isinstance(same, ConnectionString)
            assert "".join(same) == "".join(url)
            assert CANARY not in f"{same} {same!r}"
        address = DatabaseAddress.from_url(URL)
        # Slots and frozen need what the oldest protocols don't have.
        again = pickle.loads(pickle.dumps(address, max(protocol, 2)))
        assert again == address
        assert CANARY not in repr(again)
        assert hash(again) == hash(address)

    def test_what_is_no_url_is_masked_whole(self) -> None:
        assert str(ConnectionString(f"host=db password={CANARY}")) == "***"
        assert str(ConnectionString(f"postgresql://ann:{CANARY}@@db/x")) == "***"

    @pytest.mark.parametrize(
        ("text", "masked"),
        [
            ("plain", "plain"),
            ("postgresql://db:5432/x", "postgresql://db:5432/x"),
            (f"at postgresql://ann:{CANARY}@db/x now", "at postgresql://ann:***@db/x now"),
            (f"postgresql+psycopg://:{CANARY}@db", "postgresql+psycopg://:***@db"),
            (f"postgresql://ann:p@{CANARY}@db/x", "postgresql://ann:***@db/x"),
            (f"postgresql://ann:p/{CANARY}@db/x", "postgresql://ann:***@db/x"),
            (f"a://u:{CANARY}@h b://v:{CANARY}@i", "a://u:***@h b://v:***@i"),
            (f"?sslpassword={CANARY}&sslmode=no", "?sslpassword=***&sslmode=no"),
            (f"DB_PASSWORD={CANARY}", "DB_PASSWORD=***"),
            (f"password={CANARY}&{CANARY} x", "password=*** x"),
            (f"Password = 'a \\' {CANARY}' user=x", "Password = *** user=x"),
            (f'password="a {CANARY}" user=x', "password=*** user=x"),
            (f"password='open {CANARY}", "password=***"),
            (f"{URL} {URL}", f"{mask_password(URL)} {mask_password(URL)}"),
        ],
    )
    def test_texts(self, text: str, masked: str) -> None:
        assert mask_password(text) == masked
        assert CANARY not in masked


class TestReachable:
    def test_a_closed_port_at_once(self) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            address = DatabaseAddress(
                "127.0.0.1", held.getsockname()[1], "x", "ann", CANARY, {}, "DB_HOST in .env"
            )
            begin = time.monotonic()
            with pytest.raises(DatabaseUnreachable) as caught:
                check_reachable(address)
            assert time.monotonic() - begin < 1.9
        text = "".join(traceback.format_exception(caught.value))
        assert f"ann at 127.0.0.1, port {address.port}, database x (from DB_HOST in .env)" in text
        assert CANARY not in text

    def test_one_that_never_answers_in_time(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            address = DatabaseAddress("127.0.0.1", silent.getsockname()[1], "x", "ann", CANARY)
            begin = time.monotonic()
            with pytest.raises(DatabaseUnreachable) as caught:
                check_reachable(address)
            assert time.monotonic() - begin < 4
        assert CANARY not in str(caught.value)

    def test_an_option_that_the_driver_does_not_know(self) -> None:
        address = DatabaseAddress.from_url(f"postgresql://ann:{CANARY}@127.0.0.1:1/x?color=red")
        with pytest.raises(DatabaseError, match="color") as caught:
            check_reachable(address)
        assert not isinstance(caught.value, DatabaseUnreachable)

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ('FATAL:  password authentication failed for user "ann"', "refuses the login"),
            ("FATAL:  authentification par mot de passe échouée", "refuses the login"),
            ('FATAL:  database "x" does not exist', "doesn't know that database"),
            ("FATAL:  la base de données « x » n'existe pas", "doesn't know that database"),
            ("FATAL:  sorry, too many clients already", "refuses the connection"),
            ("", "doesn't answer"),
        ],
    )
    def test_the_server_may_speak_french(
        self, monkeypatch: pytest.MonkeyPatch, said: str, expected: str
    ) -> None:
        def refuse(*_args: object, **_keywords: object) -> None:
            raise OSError(said)

        monkeypatch.setattr("psycopg.connect", refuse)
        with pytest.raises(DatabaseError, match=expected):
            check_reachable(DatabaseAddress("db", 5432, "x", "ann", CANARY))
