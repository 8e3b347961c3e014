"""What starting the embedded PostgreSQL needs of the system: another user, a private folder."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vigie.data.programs import run_to_end
from vigie.errors import DatabaseError
from vigie.i18n import _

# Stops the server of folder $1 once nobody holds a lock on descriptor 3, for users who were killed
# and could not. Descriptor 4 is what keeps starting and stopping apart; $2 says "keep running".
# A server that is told to stop in the middle of a crash recovery may wait for ever (PostgreSQL 18.4
# does): it is told more firmly then. What was committed is in its log, for the next start.
_WATCH = """
while flock -x 3; do
    flock -u 3
    flock -x 4
    if flock -x -n 3; then
        test -e "$2" && exit
        n=0
        until pid=$(head -n 1 "$1/postmaster.pid") && test -n "$pid"; do
            # A server holds a lock on its log from before it has written its number.
            flock -n "$1/server.log" true && exit
            n=$((n + 1))
            test $n -eq 100 && exit
            sleep 0.1
        done
        test "$(cat "/proc/$pid/comm")" = postgres || exit
        kill -INT "$pid" || exit
        n=0
        while test -e "/proc/$pid" && ! grep -q "^State:.Z" "/proc/$pid/status"; do
            n=$((n + 1))
            test $n -eq 300 && kill -QUIT "$pid"
            test $n -eq 400 && kill -KILL "$pid"
            sleep 0.1
        done
        rmdir "$3"
        exit
    fi
    flock -u 4
done
"""
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def make_private_folder(folder: Path, uid: int) -> None:
    """Make the socket's folder, private to the server's user; refuse one of somebody else."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    refused = DatabaseError(
        _("Somebody else has the folder that the database's socket belongs into."),
        where=str(folder),
        fix=_("Remove it, or set TMPDIR to a folder of your own."),
    )
    try:
        # By its descriptor: a name in a public folder may mean something else a moment later.
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise refused from error
    try:
        found = os.fstat(opened)
        if found.st_uid not in {uid, os.geteuid()}:
            raise refused
        if found.st_uid != uid:
            os.fchown(opened, uid, -1)
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(opened, 0o700)
    finally:
        os.close(opened)


def becoming(uid: int | None, *, mortal: bool) -> Callable[[], None] | None:
    """Return what a child does before it becomes a program of `uid`; None where nothing.

    Parameters
    ----------
    uid
        Who it is to be, for a child of root; None for who we are.
    mortal
        Whether it is killed when its parent dies.
    """
    if uid is None and not mortal:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    # Looked up before the fork: another thread that loads a library then holds the loader's lock.
    prctl = libc.prctl
    parent = os.getpid()
    drop = None if uid is None else _dropping(uid, libc)

    def become() -> None:
        if drop is not None:
            drop()
        if mortal:
            # After the change of user, which would clear it.
            prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)

    return become


def _dropping(uid: int, libc: ctypes.CDLL) -> Callable[[], None]:
    """Return what makes root `uid`, but for the right to pass through root's folders."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (
            ("effective", ctypes.c_uint32),
            ("permitted", ctypes.c_uint32),
            ("inheritable", ctypes.c_uint32),
        )

    header = Header(0x20080522, 0)
    held = (Data * 2)()
    prctl, capset = libc.prctl, libc.capset
    libc.capget(ctypes.byref(header), held)
    # Docker gives its root the larger right and not the smaller.
    small = held[0].permitted & 1 << _CAP_DAC_READ_SEARCH
    capability = _CAP_DAC_READ_SEARCH if small else _CAP_DAC_OVERRIDE
    bit = 1 << capability
    data = (Data * 2)(Data(bit, bit, bit), Data(0, 0, 0))

    def drop() -> None:
        # So that access(2), by which PostgreSQL looks for its own files, counts the right as well.
        prctl(28, 1 << 2, 0, 0, 0)  # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP
        prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        # Where a container forbids it, folders that nobody may enter remain closed.
        capset(ctypes.byref(header), data)
        prctl(47, 2, capability, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE

    return drop


def watch_users(
    users: int, lock: int, data_dir: Path, pin: Path, socket_dir: Path, options: Mapping[str, Any]
) -> None:
    """Start what stops the server of `data_dir` when the last of its users is gone, killed or not.

    Where the system has no ``flock`` program, nothing is started.

    Parameters
    ----------
    users, lock
        Descriptors of the lock files, opened for this purpose.
    pin
        The file that says the server is to be kept running.
    options
        How a program is started as the server's user.
    """
    if shutil.which("flock") is None:
        return
    # Behind a shell that leaves at once, so that it is nobody's child. The descriptors come as its
    # input and output: not every shell can name one above 9.
    script = ["/bin/sh", "-c", _WATCH, "vigie-watch", str(data_dir), str(pin), str(socket_dir)]
    run_to_end(
        ["/bin/sh", "-c", 'exec 3<&0 4>&1 </dev/null >/dev/null; "$@" &', "sh", *script],
        stdin=users,
        stdout=lock,
        stderr=subprocess.DEVNULL,
        **options,
    )
