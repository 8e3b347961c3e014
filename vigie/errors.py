"""The whole tree of errors: each says what happened, where, and what to do about it.

Only ``cli`` turns them into text and an exit code. A message is already in the reader's language
when the error is raised (see ``vigie.i18n``), and never holds a password.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process answers; documented in the README and kept stable."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DATA = 3
    LOCKED = 4
    DATABASE = 5
    MODEL = 6
    CHECK = 7
    AUDIT = 8
    CLUSTER = 9
    INTERRUPTED = 130


class VigieError(Exception):
    """A fault that a person can act upon.

    Parameters
    ----------
    what
        One sentence: what went wrong.
    where
        File, line, column, key or address that it concerns, and the origin of a setting.
    fix
        One command or one edit that mends it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE
    transient: ClassVar[bool] = False
    """Whether the same command may well succeed a little later, with nothing mended."""

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what, self.where, self.fix]
        return "\n".join(part for part in parts if part)


class UsageError(VigieError):
    """The command line says something that cannot be meant."""

    exit_code = ExitCode.USAGE


class CheckFailed(VigieError):
    """A check before production failed."""

    exit_code = ExitCode.CHECK


class SettingsError(VigieError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = ExitCode.USAGE


class DeclarationError(VigieError):
    """The declaration of a data set contradicts itself."""

    exit_code = ExitCode.USAGE


class DataError(VigieError):
    """The raw data are missing or are not what the declaration says."""

    exit_code = ExitCode.DATA


class RawDataMissing(DataError):
    """There is no raw file to start from."""


class TooManyRejected(DataError):
    """More rows do not fit than the threshold allows."""


class FetchError(DataError):
    """A download failed or brought something else than expected."""


class ArtifactMissing(DataError):
    """A step's input does not exist; the step that makes it has not run."""


class LockHeld(VigieError):
    """Another run works on the same project and mode."""

    exit_code = ExitCode.LOCKED
    transient = True


class DatabaseError(VigieError):
    """PostgreSQL refused, failed or went away."""

    exit_code = ExitCode.DATABASE


class DatabaseUnreachable(DatabaseError):
    """No PostgreSQL server answered."""

    transient = True


class SparkUnavailable(VigieError):
    """Spark is the engine, and it is not installed, not startable or doesn't answer."""


class SparkFailed(VigieError):
    """Spark gave up in the middle of its work."""


class ModelError(VigieError):
    """The model is missing, is not the recorded one, or does not fit the features."""

    exit_code = ExitCode.MODEL


class ClusterError(VigieError):
    """A cluster of other processes or machines cannot do the work."""

    exit_code = ExitCode.CLUSTER


class ClusterUnreachable(ClusterError):
    """No scheduler answered, it has no worker, or it went away."""

    transient = True
