"""One run at a time for a project and mode.

The kernel's ``flock`` is the authority: it goes with the process however that ends, so a lock can
neither be left behind nor be judged by a pid that a reboot or another container has given away.
What is written in the file is for people. Only where the file system (or Windows) knows no
``flock`` does the file itself become the lock, and its owner is then looked for by host, boot,
pid namespace, pid and start time; when in doubt it is taken to be alive.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vigie.errors import LockHeld, VigieError
from vigie.i18n import _

if sys.platform != "win32":
    import fcntl

POLL_SECONDS = 0.1
START_TIME_TOLERANCE_SECONDS = 2.0
# EBADF is NFS's answer where the file is open for reading only.
UNSUPPORTED = {
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EBADF,
}


class FlockUnsupported(Exception):
    """The file system, or the operating system, cannot lock files through the kernel."""


def try_flock(descriptor: int) -> bool:
    """Lock the open file for this process alone; False where another one holds it.

    Raises
    ------
    FlockUnsupported
        Where the file system cannot.
    """
    if sys.platform == "win32":
        raise FlockUnsupported
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in UNSUPPORTED:
            raise FlockUnsupported from error
        raise
    return True


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock; every field may be unknown ("" or 0)."""

    pid: int = 0
    host: str = ""
    since: str = ""
    command: str = ""
    started: float = 0.0
    boot: str = ""
    namespace: str = ""

    def describe(self) -> str:
        """Return one line: which process, where, since when."""
        if not self.pid:
            return _("a process that left no name")
        return _("process {pid} on {host} since {since}").format(
            pid=self.pid, host=self.host, since=self.since
        )


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The lock's last owner ended without releasing it."""

    owner: Owner

    def describe(self) -> str:
        """Return one translated line for the log."""
        return _("The previous run ended abruptly ({owner}); its lock is taken over.").format(
            owner=self.owner.describe()
        )


class ProjectLock:
    """The lock of one project and mode.

    Parameters
    ----------
    folder
        Where the lock file lives: the project's ``.vigie``.
    mode
        ``"dev"`` or ``"prod"``; different modes do not hinder each other.
    command
        What the owner was asked to do, passwords masked: shown to whoever finds the lock held.
    """

    def __init__(self, folder: Path, mode: str, *, command: str = "") -> None:
        self.path = folder / f"run_{mode}.lock"
        self.mode = mode
        self.command = command
        self._descriptor: int | None = None
        self._owns_file = False

    def acquire(
        self, wait_seconds: float = 0.0, *, on_wait: Callable[[Owner], None] | None = None
    ) -> TakenOver | None:
        """Take the lock, waiting at most `wait_seconds`; a note if its last owner had died.

        `on_wait` is called once, with the present owner, before the waiting begins.

        Raises
        ------
        LockHeld
            Another process has it: who, since when and how to wait.
        """
        deadline = time.monotonic() + wait_seconds
        told = False
        while True:
            acquired, previous = self._try()
            if acquired:
                return TakenOver(previous) if previous is not None else None
            if time.monotonic() >= deadline:
                raise self._held(previous or Owner())
            if on_wait is not None and not told:
                on_wait(previous or Owner())
            told = True
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._descriptor is not None:
            # An empty file is how the next owner knows that this one ended in order.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
        if self._owns_file:
            self._fallback_path.unlink(missing_ok=True)
            self._owns_file = False

    @contextlib.contextmanager
    def hold(self, wait_seconds: float = 0.0) -> Iterator[TakenOver | None]:
        """Hold the lock while the block runs."""
        note = self.acquire(wait_seconds)
        try:
            yield note
        finally:
            self.release()

    def _try(self) -> tuple[bool, Owner | None]:
        """Return whether the lock is ours now, and its present or its dead previous owner."""
        descriptor = self._open()
        try:
            acquired = try_flock(descriptor)
        except FlockUnsupported:
            os.close(descriptor)
            return self._try_without_flock()
        except BaseException:
            os.close(descriptor)
            raise
        previous = _read_owner(self.path)
        if not acquired:
            os.close(descriptor)
            return False, previous
        self._descriptor = descriptor
        _close_in_forked_children(self)
        # The words in the file are a courtesy: a full disk must not undo a lock that is held.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _owner_text(self.command), 0)
        return True, previous

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise VigieError(
                _("The project folder cannot be written: {reason}.").format(reason=error.strerror),
                where=str(self.path),
                fix=_("Give yourself the right to write there, or choose another --project."),
            ) from error

    def _held(self, owner: Owner) -> LockHeld:
        return LockHeld(
            _("Another run is at work on this project in mode {mode}: {owner}.").format(
                mode=self.mode, owner=owner.describe()
            ),
            where=f"{self.path}" + (f" ({owner.command})" if owner.command else ""),
            fix=_("Wait for it with --wait SECONDS, or let it finish and try again."),
        )

    # --- where there is no flock -------------------------------------------------------------

    @property
    def _fallback_path(self) -> Path:
        return self.path.with_suffix(".owner")

    def _try_without_flock(self) -> tuple[bool, Owner | None]:
        try:
            descriptor = os.open(self._fallback_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            previous = _read_owner(self._fallback_path)
            if previous is None or not is_dead(previous):
                return False, previous
            if not self._set_aside(previous):
                return False, _read_owner(self._fallback_path)
            acquired, _present = self._try_without_flock()
            return acquired, previous
        with os.fdopen(descriptor, "wb") as file:
            file.write(_owner_text(self.command))
        self._owns_file = True
        return True, None

    def _set_aside(self, dead: Owner) -> bool:
        """Move the dead owner's file away; False where somebody else was quicker."""
        aside = self._fallback_path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            self._fallback_path.rename(aside)
        except FileNotFoundError:
            return True
        is_the_dead_one = _read_owner(aside) == dead
        if not is_the_dead_one:
            # Between our look and our rename another process took over: its file goes back.
            with contextlib.suppress(OSError):
                os.link(aside, self._fallback_path)
        aside.unlink(missing_ok=True)
        return is_the_dead_one


def is_held(folder: Path, mode: str) -> bool:
    """Return whether a run of `mode` is going on; looks without keeping the lock."""
    path = folder / f"run_{mode}.lock"
    # The words first: a probe of the kernel's lock could get in the way of a run that begins.
    owner = _read_owner(path)
    if owner is not None and is_dead(owner):
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_flock(descriptor)
    except FlockUnsupported:
        owner = _read_owner(path.with_suffix(".owner"))
        return owner is not None and not is_dead(owner)
    finally:
        os.close(descriptor)


def is_dead(owner: Owner) -> bool:
    """Return whether the owner's process is surely gone; in doubt it lives."""
    import psutil

    if not owner.pid or owner.host != socket.gethostname():
        return False
    if owner.boot != _boot_id():
        return True
    if owner.namespace != _pid_namespace():
        return False
    try:
        started: float = psutil.Process(owner.pid).create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return abs(started - owner.started) > START_TIME_TOLERANCE_SECONDS


def _owner_text(command: str) -> bytes:
    import psutil

    owner = Owner(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        started=psutil.Process().create_time(),
        boot=_boot_id(),
        namespace=_pid_namespace(),
    )
    return json.dumps(asdict(owner)).encode()


def _read_owner(path: Path) -> Owner | None:
    """Return who the file names: None where it is empty or gone, unknown where it is torn."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if not text.strip("\0 \n"):
        return None
    try:
        content: Any = json.loads(text)
        known = {key: content[key] for key in Owner.__dataclass_fields__ if key in content}
        return Owner(**known)
    except (ValueError, TypeError):
        return Owner()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time() / 60))


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _close_in_forked_children(lock: ProjectLock) -> None:
    """Keep a forked worker that outlives a killed parent from holding the lock on."""
    if not hasattr(os, "register_at_fork"):
        return

    def close() -> None:
        if lock._descriptor is not None:  # noqa: SLF001
            os.close(lock._descriptor)  # noqa: SLF001
            lock._descriptor = None  # noqa: SLF001

    os.register_at_fork(after_in_child=close)
