"""Runs of vigie that needn't import their libraries anew: hundreds of them are tried here.

Half of what a small run costs is the import of scikit-learn, matplotlib and the like. One Python
per test process has all of it in memory, and forks for each run: a process like any other, with
its own pid, session, environment, folder and end, but without these seconds.

What it can't stand for (another encoding, a process list, the import itself) is started cold, and
so is everything with ``VIGIE_TESTS_WARM=no``, as in ``make faults``.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

from vigie.errors import ExitCode
from vigie.pipeline import fingerprint

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.003
MESSAGE_BYTES = 150_000
# What a run imports while it works.
LIBRARIES = (
    "duckdb", "ibis.backends.duckdb", "jinja2", "joblib",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.figure",
    "matplotlib.patheffects", "pandas", "pgpq", "psycopg", "pyarrow.compute", "pyarrow.dataset",
    "pyarrow.parquet", "rich.console", "scipy.stats", "sklearn.calibration", "sklearn.ensemble",
    "sklearn.inspection", "sklearn.isotonic", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.model_selection", "sklearn.pipeline",
)  # fmt: skip
# Read when Python or a library starts: who sets another value gets a Python of its own.
AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "OPENBLAS_", "MPL", "TZ")
LATER = {"PYTHONPATH", "PYTHONFAULTHANDLER"}


class Warmed:
    """A run that was forked: of ``subprocess.Popen`` what tests need."""

    def __init__(self, pid: int, status: IO[bytes]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return the exit code, None while it lives; minus the signal that killed it."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            said = self._status.readline()
            assert said, "the Python that forks is gone"
            self.returncode = os.waitstatus_to_exitcode(int(said))
            self._status.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("vigie", timeout or 0)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    new_session: bool = False,
    cold: bool = False,
) -> Warmed | subprocess.Popen[bytes]:
    """Start ``python -m vigie.cli`` with `arguments`; nothing is to be read from its input."""
    environ = {"PYTHONPATH": str(ROOT), **environ}
    if cold or not _is_warm(environ):
        return subprocess.Popen(
            [sys.executable, "-m", "vigie.cli", *arguments],
            cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            start_new_session=new_session,
        )  # fmt: skip
    asked = {
        "arguments": list(arguments), "folder": str(folder), "environ": environ,
        "new_session": new_session,
    }  # fmt: skip
    read, write = os.pipe()
    message = json.dumps(asked).encode()
    assert len(message) < MESSAGE_BYTES
    socket.send_fds(_forker(), [message], [stdout.fileno(), stderr.fileno(), write])
    os.close(write)
    status = os.fdopen(read, "rb", buffering=0)
    return Warmed(int(status.readline()), status)


def run(
    arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m vigie.cli`` with `arguments` to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(
            arguments, folder=folder, environ=environ, stdout=out, stderr=err, cold=cold
        )
        code = process.wait()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8"))
    return subprocess.CompletedProcess(["vigie", *arguments], code, *texts)


def _is_warm(environ: Mapping[str, str]) -> bool:
    if os.environ.get("VIGIE_TESTS_WARM") == "no":
        return False
    # Other code than this checkout's is not in memory.
    own_code = environ["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
    return own_code and _at_start(environ) == _at_start(_own_environment())


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environ.items() if k.startswith(AT_START) and k not in LATER}


def _own_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(AT_START)}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)}


@cache
def _forker() -> socket.socket:
    """Return the socket of the Python that forks; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MESSAGE_BYTES)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=ROOT, env=_own_environment(), pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    return ours


# --- the Python that forks -----------------------------------------------------------------------


def _serve(asked: socket.socket) -> dict[str, Any] | None:
    """Fork for each message; return the message in the child, None when nobody asks any more."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: dict[int, int] = {}
    while True:
        ready, _to_write, _failed = select.select([asked, read], [], [])
        if read in ready:
            os.read(read, 1024)
            _report(alive)
        if asked not in ready:
            continue
        message, fds, _flags, _address = socket.recv_fds(asked, MESSAGE_BYTES, 3)
        if not message:
            return None
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for target, fd in zip((1, 2), fds, strict=False):
                os.dup2(fd, target)
            for fd in {read, write, *fds, *alive.values(), asked.detach()}:
                os.close(fd)
            return dict(json.loads(message))
        *theirs, status = fds
        for fd in theirs:
            os.close(fd)
        alive[pid] = status
        os.write(status, f"{pid}\n".encode())


def _report(alive: dict[int, int]) -> None:
    """Say of each child that has ended how it did."""
    while alive:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(alive[pid], f"{status}\n".encode())
        os.close(alive.pop(pid))


def _become(asked: Mapping[str, Any]) -> None:
    """Make this process what ``python -m vigie.cli`` would be."""
    if asked["new_session"]:
        os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv = [str(ROOT / "vigie" / "cli.py"), *asked["arguments"]]
    sys.path[0] = asked["folder"]
    added = [one for one in asked["environ"].get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[1:1] = [one for one in added if one not in sys.path]
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()


def _end(code: int) -> NoReturn:
    """End the process as Python does, but for what libraries do in C for threads of before."""
    from vigie.cli import end_now

    if code != ExitCode.INTERRUPTED:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    end_now(code)


def _import_everything() -> None:
    import vigie

    for name in LIBRARIES:
        importlib.import_module(name)
    # What steps' code is made of, which every new project would find out anew.
    read = functools.cache(fingerprint.read_module)
    setattr(fingerprint, "read_module", read)  # noqa: B010
    for found in pkgutil.walk_packages(vigie.__path__, "vigie."):
        module = importlib.import_module(found.name)
        read(Path(str(module.__file__)))


if __name__ == "__main__":
    import gc

    _import_everything()
    # What is there now is never garbage: no run has to look at it, or to copy its pages.
    gc.freeze()
    wanted = _serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        _become(wanted)
        from vigie.cli import main

        _end(main())
