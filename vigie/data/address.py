"""Where a PostgreSQL database is, with a password that never shows by accident."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlencode

from vigie.errors import DatabaseError, DatabaseUnreachable, SettingsError
from vigie.i18n import _

MASK = "***"
# Up to the last @ of the word: a password that nobody percent-encoded may hold one.
_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*):[^\s]*@")
_NAMED_PASSWORD = re.compile(
    r"([?&][^=&\s]*password=)[^&\s]*"
    r"|(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|\S+)",
    re.IGNORECASE,
)
# The driver gives no code for a refused connection, and the server speaks its own language.
_LOGIN_REFUSED = re.compile(r"password|authentication|mot de passe|authentification", re.IGNORECASE)
_NOT_KNOWN = re.compile(r"(does not exist|n'existe pas)")
_SERVER_ANSWERED = re.compile(r"\b(FATAL|FATALE|PANIC)\b")


class ConnectionString(str):
    """A URL whose content is whole and whose printed form masks the password.

    SQLAlchemy and psycopg read the content; ``print``, ``str``, ``repr`` and f-strings show the
    masked form.
    """

    __slots__ = ()

    @property
    def masked(self) -> str:
        """The URL with ``***`` for the password; nothing but that where it is no URL."""
        from vigie.settings_schema import mask_url

        return mask_url(_real(self))

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return repr(self.masked)

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    def __reduce_ex__(self, _protocol: object) -> tuple[type[ConnectionString], tuple[str]]:
        return ConnectionString, (_real(self),)


def mask_password(text: str) -> str:
    """Return `text` with the passwords of URLs and of ``password=...`` replaced by ``***``.

    Examples
    --------
    >>> mask_password("postgresql://ann:p4ss@db/x?sslpassword=s3cret&sslmode=require")
    'postgresql://ann:***@db/x?sslpassword=***&sslmode=require'
    >>> mask_password("host=db password='p 4' user=ann")
    'host=db password=*** user=ann'
    """
    text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    return _NAMED_PASSWORD.sub(lambda match: f"{match[1] or match[2]}{MASK}", text)


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Host (a name, an IP address or the folder of a socket), port, database, user.

    Several hosts are one text with commas, and ``params["port"]`` has all their ports then.
    ``params`` may hold a secret too (``sslpassword``), so it is in no printed form either.
    ``origin`` says which settings it comes from. The password is in no printed form.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
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
        from vigie.settings_schema import parse_url

        match = parse_url(_real(url))
        if match is None or "%00" in url:
            raise _not_understood(origin)
        # As libpq reads it: a plus is a plus, and an option goes before the same thing in the URL.
        pairs = [option.partition("=") for option in (match["query"] or "").split("&") if option]
        params = {unquote(key): unquote(value) for key, _sign, value in pairs}
        hosts, ports = _split_hosts(match["hosts"])
        host = params.pop("host", "") or hosts or "localhost"
        ports = params.pop("port", "") or ports
        if not re.fullmatch(r"\d*(,\d*)*", ports):
            raise _not_understood(origin)
        numbers = [int(port or 5432) for port in ports.split(",")]
        if not all(1 <= number <= 65535 for number in numbers):
            raise _not_understood(origin)
        if len(numbers) not in {1, len(host.split(","))}:
            raise _not_understood(origin)
        user = params.pop("user", "") or unquote(match["user"] or "") or "postgres"
        password = params.pop("password", "") or unquote(match["password"] or "") or None
        name = params.pop("dbname", "") or unquote(match["name"] or "") or user
        if len(set(numbers)) > 1:
            params["port"] = ",".join(map(str, numbers))
        return cls(host, numbers[0], name, user, password, params, origin)

    def url(self) -> ConnectionString:
        """Return the URL that SQLAlchemy and psycopg take."""
        login = quote(self.user, safe="")
        if self.password:
            login += ":" + quote(self.password, safe="")
        params = dict(self.params)
        if self.host.startswith(("/", "@")) or "," in self.host:
            place, params = "", {"host": self.host, "port": str(self.port), **params}
        elif ":" in self.host:
            place = f"[{quote(self.host, safe=':')}]:{self.port}"
        else:
            place = f"{quote(self.host, safe='')}:{self.port}"
        # Not with a plus for a space, which libpq takes for a plus.
        query = f"?{urlencode(params, safe='/', quote_via=quote)}" if params else ""
        name = quote(self.name, safe="")
        return ConnectionString(f"postgresql://{login}@{place}/{name}{query}")

    @property
    def masked(self) -> str:
        """The URL for people."""
        return self.url().masked


def _split_hosts(hosts: str) -> tuple[str, str]:
    """Return the names and the ports of ``h1:1,[::1]:2``, each with commas between.

    Examples
    --------
    >>> _split_hosts("h1:1,[::1],h3:3")
    ('h1,::1,h3', '1,,3')
    """
    names, ports = [], []
    for place in hosts.split(","):
        found = re.fullmatch(r"(?:\[(.*)\]|([^:]*))(?::(\d*))?", place)
        assert found is not None
        names.append(unquote(found[1] or found[2] or ""))
        ports.append(found[3] or "")
    return ",".join(names), ",".join(ports)


def _not_understood(origin: str) -> SettingsError:
    return SettingsError(
        _("The database's URL can't be understood."),
        where=origin,
        fix=_("Write it as {form}.").format(form="postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
    )


def check_reachable(address: DatabaseAddress, timeout_seconds: float = 2.0) -> str:
    """Return the server's version, or say within `timeout_seconds` why there is none.

    The driver's own time-out holds for each address of a name and not for the name's look-up, so
    the whole attempt runs beside a clock. Each of several hosts has that time.

    Raises
    ------
    DatabaseUnreachable
        When nobody answers in time.
    DatabaseError
        When the server answers but refuses.
    """
    patience = timeout_seconds * len(address.host.split(","))
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
    thread.join(patience)
    if found:
        return found[0]
    if not failed:
        raise _refusal(address, _("no answer in time"), patience)
    text = mask_password(str(failed[0]).strip()) or type(failed[0]).__name__
    raise _refusal(address, text, patience)


def shown_version(number: int) -> str:
    """Return a server's version as people write it.

    Examples
    --------
    >>> shown_version(180004)
    '18.4'
    """
    return f"{number // 10000}.{number % 10000}"


def _real(url: str) -> str:
    """Return the content of a ``ConnectionString``."""
    return "".join(url)


def _refusal(address: DatabaseAddress, reason: str, timeout_seconds: float) -> DatabaseError:
    tried = _("{user} at {host}, port {port}, database {name} (from {origin})").format(
        user=address.user,
        host=address.host,
        port=address.port,
        name=address.name,
        origin=address.origin,
    )
    line = " ".join(reason.splitlines()[0].split())
    if _LOGIN_REFUSED.search(reason):
        return DatabaseError(
            _("PostgreSQL refuses the login: {reason}").format(reason=line),
            where=tried,
            fix=_("Correct DB_USER and DB_PASSWORD (or DATABASE_URL) in .env."),
        )
    if _NOT_KNOWN.search(reason):
        return DatabaseError(
            _("PostgreSQL doesn't know that database or user: {reason}").format(reason=line),
            where=tried,
            fix=_("Make it (createdb {name}), or correct DB_NAME in .env.").format(
                name=address.name
            ),
        )
    if _SERVER_ANSWERED.search(reason):
        return DatabaseError(
            _("PostgreSQL refuses the connection: {reason}").format(reason=line),
            where=tried,
            fix=_("Ask who runs that server, or correct DATABASE_URL or DB_HOST in .env."),
        )
    if re.match(r"invalid |missing ", reason):
        return DatabaseError(
            _("PostgreSQL's driver doesn't accept the address: {reason}").format(reason=line),
            where=tried,
            fix=_("Correct DATABASE_URL in .env."),
        )
    return DatabaseUnreachable(
        _("PostgreSQL doesn't answer within {seconds:g} seconds: {reason}").format(
            seconds=timeout_seconds, reason=line
        ),
        where=tried,
        fix=_(
            "Start the server or correct DB_HOST and DB_PORT in .env; with no database in .env, "
            "vigie uses its embedded one."
        ),
    )
