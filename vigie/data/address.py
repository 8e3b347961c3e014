"""Where a PostgreSQL database is, with a password that never shows by accident."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from vigie.errors import DatabaseError, DatabaseUnreachable, SettingsError
from vigie.i18n import _

MASK = "***"
SCHEMES = ("postgresql", "postgres")
_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*):[^@\s]*@")
_KEYWORD_PASSWORD = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'&]+)", re.IGNORECASE)


class ConnectionString(str):
    """A URL whose content is whole and whose printed form masks the password.

    SQLAlchemy and psycopg read the content; ``print``, ``str``, ``repr`` and f-strings show the
    masked form.
    """

    __slots__ = ()

    @property
    def masked(self) -> str:
        """The URL with ``***`` for the password."""
        return mask_password("".join(self))

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return repr(self.masked)

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)


def mask_password(text: str) -> str:
    """Return `text` with the passwords of URLs and of ``password=...`` replaced by ``***``."""
    text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    return _KEYWORD_PASSWORD.sub(rf"\1{MASK}", text)


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Host (a name, an IP address or the folder of a socket), port, database, user.

    ``origin`` says which settings it comes from. The password is in no printed form.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    params: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    @classmethod
    def from_parts(
        cls,
        host: str,
        port: int = 5432,
        name: str | None = None,
        user: str | None = None,
        password: str | None = None,
        origin: str = "",
    ) -> DatabaseAddress:
        """Return the address that single settings give; the database is called like the user."""
        login = user or name or "postgres"
        return cls(host, port, name or login, login, password, {}, origin)

    @classmethod
    def from_url(cls, url: str, origin: str = "") -> DatabaseAddress:
        """Return the address that a URL gives.

        Raises
        ------
        SettingsError
            When it is no URL of PostgreSQL; the URL itself is not shown.
        """
        scheme = url.partition("://")[0].partition("+")[0]
        try:
            split = urlsplit(url)
            port = split.port or 5432
        except ValueError:
            split, port, scheme = urlsplit(""), 5432, ""
        if scheme not in SCHEMES:
            raise SettingsError(
                _("The database's URL can't be understood."),
                where=origin,
                fix=_("Write it as {form}.").format(
                    form="postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
                ),
            )
        params = dict(parse_qsl(split.query))
        host = params.pop("host", None) or unquote(split.hostname or "") or "localhost"
        port = int(params.pop("port", port))
        user = unquote(split.username or "") or params.pop("user", "postgres")
        password = unquote(split.password) if split.password else params.pop("password", None)
        name = unquote(split.path.lstrip("/")) or params.pop("dbname", user)
        return cls(host, port, name, user, password, params, origin)

    def url(self) -> ConnectionString:
        """Return the URL that SQLAlchemy and psycopg take."""
        login = quote(self.user, safe="")
        if self.password:
            login += ":" + quote(self.password, safe="")
        params = dict(self.params)
        if self.host.startswith("/"):
            place, params = "", {"host": self.host, "port": str(self.port), **params}
        elif ":" in self.host:
            place = f"[{self.host}]:{self.port}"
        else:
            place = f"{quote(self.host, safe='')}:{self.port}"
        query = f"?{urlencode(params, safe='/')}" if params else ""
        name = quote(self.name, safe="")
        return ConnectionString(f"postgresql://{login}@{place}/{name}{query}")

    @property
    def masked(self) -> str:
        """The URL for people."""
        return self.url().masked


def check_reachable(address: DatabaseAddress, timeout_seconds: float = 2.0) -> str:
    """Return the server's version, or say within `timeout_seconds` why there is none.

    The driver's own time-out holds for each address of a name and not for the name's look-up, so
    the whole attempt runs beside a clock.

    Raises
    ------
    DatabaseUnreachable
        When nobody answers in time.
    DatabaseError
        When the server answers but refuses.
    """
    found: list[str] = []
    failed: list[Exception] = []

    def attempt() -> None:
        import psycopg

        try:
            seconds = max(2, int(timeout_seconds))
            with psycopg.connect(_real(address.url()), connect_timeout=seconds) as connection:
                found.append(str(connection.info.server_version))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=attempt, name="database-check", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if found:
        return found[0]
    reason = mask_password(str(failed[0]).strip()) if failed else _("no answer in time")
    raise _refusal(address, reason, timeout_seconds)


def _real(url: ConnectionString) -> str:
    return "".join(url)


def _refusal(address: DatabaseAddress, reason: str, timeout_seconds: float) -> DatabaseError:
    tried = _("{user} at {host}, port {port}, database {name} (from {origin})").format(
        user=address.user,
        host=address.host,
        port=address.port,
        name=address.name,
        origin=address.origin,
    )
    if "password" in reason or "authentication" in reason:
        return DatabaseError(
            _("PostgreSQL refuses the login: {reason}").format(reason=reason.splitlines()[0]),
            where=tried,
            fix=_("Correct DB_USER and DB_PASSWORD (or DATABASE_URL) in .env."),
        )
    if "does not exist" in reason:
        return DatabaseError(
            _("PostgreSQL doesn't know that database or user: {reason}").format(
                reason=reason.splitlines()[0]
            ),
            where=tried,
            fix=_("Make it (createdb {name}), or correct DB_NAME in .env.").format(
                name=address.name
            ),
        )
    return DatabaseUnreachable(
        _("PostgreSQL doesn't answer within {seconds:g} seconds: {reason}").format(
            seconds=timeout_seconds, reason=reason.splitlines()[0]
        ),
        where=tried,
        fix=_(
            "Start the server or correct DB_HOST and DB_PORT in .env; with no database in .env, "
            "vigie uses its embedded one."
        ),
    )
