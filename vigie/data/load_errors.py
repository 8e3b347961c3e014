"""What PostgreSQL's refusals mean to a person, and which of them are worth another try."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vigie.errors import DatabaseError, DatabaseUnreachable
from vigie.i18n import _

TRANSIENT_STATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "53300",  # too many connections
        "57P01",  # the server is shutting down, or somebody ended this connection
        "57P02",
        "57P03",  # the server is starting up
    }
)
UNREACHABLE = (
    "connection refused",
    "no such file or directory",
    "timeout expired",
    "starting up",
    "shutting down",
    "too many clients",
)
LOST = (
    "closed the connection",
    "no connection to the server",
    "the connection is lost",
    "the connection is closed",
    "connection not open",
    "broken pipe",
    "connection reset",
    "could not receive data",
    "could not send data",
    "ssl connection has been closed",
    "terminating connection",
)
DEPENDENT_OBJECTS = "2BP01"
LOCK_TIMEOUT = "55P03"
_MESSAGE = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(.*?)(?:\n|$)")


class Interference(Exception):
    """Somebody changed the tables' surroundings during a load; the next try sees it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the driver reported."""

    message: str
    state: str | None = None
    detail: str | None = None
    table: str | None = None
    constraint: str | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection went away, or never came to be."""
        text = self.message.lower()
        return self.state is None and any(part in text for part in (*LOST, *UNREACHABLE))

    @property
    def transient(self) -> bool:
        """Whether the same work may succeed a moment later."""
        state = self.state or ""
        return self.lost or state in TRANSIENT_STATES or state.startswith("08")


def read_failure(error: BaseException) -> Failure:
    """Return what an exception of psycopg says."""
    if isinstance(error, Interference):
        return Failure(str(error), state="40001")
    state = getattr(error, "sqlstate", None)
    diagnosis = getattr(error, "diag", None)
    if diagnosis is not None and diagnosis.message_primary:
        return Failure(
            diagnosis.message_primary,
            state,
            diagnosis.message_detail,
            diagnosis.table_name,
            diagnosis.constraint_name,
        )
    # A refused connection says all in one text.
    text = str(error).strip()
    message = _MESSAGE.search(text)
    return Failure(message.group(1) if message else text, state)


def is_driver_error(error: BaseException) -> bool:
    """Whether psycopg's own error classes made `error`."""
    return any(kind.__module__.partition(".")[0] == "psycopg" for kind in type(error).__mro__)


def as_database_error(
    failure: Failure, *, schema: str, address: str, doing: str, holders: str | None = None
) -> DatabaseError:
    """Return the error that a person reads.

    Parameters
    ----------
    address
        Where the server is, the password masked.
    doing
        The phase, for the person: "loading student_vle".
    holders
        Who holds the lock that was waited for, where that could be found out.
    """
    where = _("{address}, schema {schema}, while {doing}").format(
        address=address, schema=schema, doing=doing
    )
    for state, make in _MAKERS.items():
        if (failure.state or "").startswith(state):
            what, fix = make(failure, schema, holders)
            return DatabaseError(_masked(what), where=where, fix=fix)
    if failure.lost or failure.state in {"57P01", "57P02", "57P03"}:
        return DatabaseUnreachable(
            _masked(
                _("The connection to PostgreSQL was lost: {message}").format(
                    message=_one_line(failure.message)
                )
            ),
            where=where,
            fix=_(
                "Nothing was changed. See that the server runs, then run the same command again."
            ),
        )
    return DatabaseError(
        _masked(_("PostgreSQL refused: {message}").format(message=_sentence(failure))),
        where=where,
        fix=_("Nothing was changed. Mend the cause, then run the same command again."),
    )


def _denied(failure: Failure, schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("This user may not do that in PostgreSQL: {message}").format(message=failure.message),
        _(
            "As an administrator: GRANT CREATE ON DATABASE … TO …; if the schema {schema} exists, "
            "also make this user its owner (ALTER SCHEMA … OWNER TO …)."
        ).format(schema=schema),
    )


def _disk_full(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("The server's disk is full: {message}").format(message=failure.message),
        _("Nothing was changed. Make room on the server, then run the same command again."),
    )


def _no_memory(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("The server is out of memory: {message}").format(message=_sentence(failure)),
        _("Nothing was changed. Give the server more memory, or load again when it is idle."),
    )


def _foreign_key(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("Table {table} breaks its foreign key {key}: {detail}").format(
            table=failure.table, key=failure.constraint, detail=failure.detail
        ),
        _("Add the missing rows to the raw data, or run transform and load again."),
    )


def _duplicate(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("Table {table} has the same key twice ({key}): {detail}").format(
            table=failure.table, key=failure.constraint, detail=failure.detail
        ),
        _("Correct the raw data or the primary key in the declaration."),
    )


def _missing_value(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("Table {table} misses a required value: {message}").format(
            table=failure.table, message=failure.message
        ),
        _("Correct the raw data, or take 'required' from the column in the declaration."),
    )


def _lock_timeout(_failure: Failure, _schema: str, holders: str | None) -> tuple[str, str]:
    return (
        _("The tables are in use and did not come free within 30 seconds."),
        _("Held by {holders}. End that, then run the same command again.").format(holders=holders)
        if holders
        else _("See in pg_stat_activity who uses them, then run the same command again."),
    )


def _dependents(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("Something that people made depends on what has to change: {message}").format(
            message=_sentence(failure)
        ),
        _("Nothing was changed. Drop what is named here, load, and make it again."),
    )


def _encoding(failure: Failure, _schema: str, _holders: str | None) -> tuple[str, str]:
    return (
        _("A text cannot be stored in this database: {message}").format(message=failure.message),
        _("Use a database whose encoding is UTF8, and remove NUL characters from the raw data."),
    )


# By SQLSTATE or its class. 0A000: a column's type cannot change under a view.
_MAKERS = {
    "42501": _denied,
    "53100": _disk_full,
    "53200": _no_memory,
    "23503": _foreign_key,
    "23505": _duplicate,
    "23502": _missing_value,
    LOCK_TIMEOUT: _lock_timeout,
    DEPENDENT_OBJECTS: _dependents,
    "0A000": _dependents,
    "22021": _encoding,
    "22P05": _encoding,
}


def _sentence(failure: Failure) -> str:
    parts = [failure.message, failure.detail]
    return _one_line(" — ".join(part for part in parts if part))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _masked(text: str) -> str:
    from vigie.data.address import mask_password

    return mask_password(text)
