"""What stopped a step or a run, and what people are told of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from vigie.errors import ArtifactMissing, ExitCode, VigieError
from vigie.i18n import _
from vigie.pipeline.ledger import Status
from vigie.pipeline.planner import Blocked

_NO_SPACE = os.strerror(errno.ENOSPC)


class StepStopped(Exception):
    """A step did not end well.

    Parameters
    ----------
    step
        The step's name: the same command, or this step alone, resumes there.
    status
        Failed or interrupted.
    cause
        What stopped it: a ``VigieError`` to be shown as it is, or anything else (a defect).
    """

    def __init__(self, step: str, status: Status, cause: BaseException) -> None:
        super().__init__(f"step {step} {status}: {type(cause).__name__}")
        self.step = step
        self.status = status
        self.cause = cause

    @property
    def exit_code(self) -> ExitCode:
        """What the process should answer."""
        if self.status == Status.INTERRUPTED:
            return ExitCode.INTERRUPTED
        return self.cause.exit_code if isinstance(self.cause, VigieError) else ExitCode.FAILURE


def is_interrupt(error: BaseException) -> bool:
    """Whether somebody has had enough, in whatever form it comes."""
    if isinstance(error, StepStopped):
        return error.status == Status.INTERRUPTED
    return not isinstance(error, Exception)


def storage_error(error: BaseException) -> VigieError | None:
    """Return what a full disk or a missing right means for people, if that is the cause."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, VigieError):
        if _NO_SPACE in str(seen):
            # Of an engine that has exceptions of its own, DuckDB for one.
            return _disk_full(None)
        if isinstance(seen, OSError) and seen.errno is not None:
            file = str(seen.filename) if seen.filename else None
            if seen.errno in {errno.ENOSPC, errno.EDQUOT}:
                return _disk_full(file)
            if seen.errno in {errno.EACCES, errno.EROFS, errno.EPERM} and file:
                return VigieError(
                    _("The file may not be used: {reason}.").format(reason=seen.strerror),
                    where=file,
                    fix=_("Give yourself the right to it, then type the same command again."),
                )
        seen = seen.__cause__ or seen.__context__
    return None


def _disk_full(file: str | None) -> VigieError:
    return VigieError(
        _("There is no space left on the disk."),
        where=file,
        fix=_("Free some space, then type the same command again."),
    )


def blocked_error(blocked: Sequence[Blocked]) -> ArtifactMissing:
    """Return what to raise for the first step that can't run: one line for each maker."""
    first = blocked[0]
    missing: dict[str | None, list[str]] = {}
    for reason in first.reasons:
        missing.setdefault(reason.made_by, []).append(f"`{reason.name}`")
    lines = [
        _("step {step} makes {names}").format(step=maker, names=", ".join(names))
        if maker
        else _("nothing makes {names}").format(names=", ".join(names))
        for maker, names in missing.items()
    ]
    makers = [reason.made_by for one in blocked for reason in one.reasons if reason.made_by]
    return ArtifactMissing(
        _("Step {step} cannot run: what it reads is not there.").format(step=first.step),
        where="\n".join(lines),
        fix=_("Leave --steps out, or name these steps as well: {steps}.").format(
            steps=" ".join(dict.fromkeys(makers))
        )
        if makers
        else None,
    )


def error_text(error: BaseException) -> str:
    """Return what may be kept: our own sentences, of foreign errors only the kind.

    A database driver's message can hold the address it was given, password and all.
    """
    return error.what if isinstance(error, VigieError) else type(error).__name__
