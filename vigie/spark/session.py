"""A Spark session: in this process, on a standalone cluster, or behind a Spark Connect server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vigie.errors import SparkFailed, SparkUnavailable
from vigie.i18n import _

ANSWER_SECONDS = 3.0
_JAVA = 17
_LOCAL = re.compile(r"local(\[(\d+|\*)(,\s*\d+)?\])?")
_PORTS = {"spark": 7077, "sc": 15002}
# What decides results: the same on every cluster, whatever its own defaults are.
_RESULTS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    # A file's type is what the step says that wrote it, not what its folder's name looks like.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
# The Java process of this Python process: PySpark knows one at most.
_gateways: list[Any] = []


@dataclass(frozen=True, slots=True)
class SparkOptions:
    """How to reach Spark, and what it may use here.

    Parameters
    ----------
    master
        ``local[*]``, ``spark://host:port`` or ``sc://host:port``.
    threads
        Threads of this machine, for ``local[*]``.
    memory
        Memory of the Java process here, in DuckDB's form (``"1GB"``).
    log
        Where everything goes that Spark prints.
    scratch
        Folder for what doesn't fit into memory.
    """

    master: str
    threads: int
    memory: str
    log: Path
    scratch: Path

    @property
    def is_local(self) -> bool:
        """Whether all of Spark runs in a process of this machine."""
        return _LOCAL.fullmatch(self.master) is not None

    @property
    def is_connect(self) -> bool:
        """Whether a Spark Connect server does the work."""
        return self.master.startswith("sc://")


@contextmanager
def open_spark(options: SparkOptions) -> Iterator[Any]:
    """Yield a ``SparkSession``; it is stopped at the end of the block.

    Raises
    ------
    SparkUnavailable
        When PySpark or Java is missing, or nobody answers at the address.
    """
    _refuse_without_pyspark(options)
    if not options.is_connect:
        _refuse_without_java()
    if not options.is_local:
        _refuse_silence(options.master)
    try:
        session = _connected(options) if options.is_connect else _started(options)
        for key, value in _RESULTS.items():
            session.conf.set(key, value)
    except Exception as error:
        raise SparkUnavailable(
            _("Spark can't be started: {reason}").format(reason=first_line(error)),
            where=f"[engine] spark_master = {options.master!r}",
            fix=_("Look into {log}.").format(log=options.log),
        ) from error
    try:
        yield session
    finally:
        # What it leaves is a cluster's to keep or a process's that ends: no reason to fail now.
        with suppress(Exception):
            session.stop()


def _started(options: SparkOptions) -> Any:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    options.scratch.mkdir(parents=True, exist_ok=True)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    conf = SparkConf().setMaster(options.master).setAppName("vigie")
    conf.setAll([*_RESULTS.items(), *_local_settings(options).items()])
    if not _gateways:
        # What Java prints would cover the console; it goes by no logger that could be told so.
        with options.log.open("ab") as log:
            _gateways.append(launch_gateway(conf, popen_kwargs={"stdout": log, "stderr": log}))
    with _own_ctrl_c():
        return SparkSession(SparkContext(conf=conf, gateway=_gateways[0]))


@contextmanager
def _own_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C as it is: PySpark's own handler outlives its session, and fails from then on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _local_settings(options: SparkOptions) -> dict[str, str]:
    settings = {
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": _java_memory(options.memory),
        "spark.sql.warehouse.dir": (options.scratch / "warehouse").as_uri(),
    }
    host = urlsplit(options.master).hostname or ""
    if options.is_local or host in {"localhost", "127.0.0.1"}:
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if options.is_local:
        settings |= {
            "spark.ui.enabled": "false",
            "spark.local.dir": str(options.scratch),
            # The default of 200 is meant for clusters.
            "spark.sql.shuffle.partitions": str(2 * _local_threads(options)),
        }
    return settings


def _local_threads(options: SparkOptions) -> int:
    found = re.search(r"\[(\d+)", options.master)
    if found:
        return int(found[1])
    return options.threads if "*" in options.master else 1


def _java_memory(text: str) -> str:
    """Return a size in Java's form, at least the half gigabyte that Spark asks for.

    >>> _java_memory("1.5GB"), _java_memory("100MB")
    ('1500m', '512m')
    """
    units = {"K": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}
    found = re.fullmatch(r"([\d.]+) ?([KMGTkmgt]?)[Ii]?[Bb]", text)
    assert found is not None
    unit = units[found[2].upper()] if found[2] else 1e-6
    return f"{max(512, int(float(found[1]) * unit))}m"


def _connected(options: SparkOptions) -> Any:
    from pyspark.sql.connect.session import SparkSession

    return SparkSession.builder.remote(options.master).create()


def cancel(session: Any) -> None:
    """Ask Spark to stop what it does for this session."""
    with suppress(Exception):
        if hasattr(session, "interruptAll") and _is_remote(session):
            session.interruptAll()
        else:
            session.sparkContext.cancelAllJobs()


def _is_remote(session: Any) -> bool:
    return type(session).__module__.startswith("pyspark.sql.connect")


# --- what has to be there ----------------------------------------------------------------------


def _refuse_without_pyspark(options: SparkOptions) -> None:
    missing = [
        name
        for name in ("pyspark", *(("grpc", "pandas") if options.is_connect else ()))
        if find_spec(name) is None
    ]
    if missing:
        raise SparkUnavailable(
            _("The engine is Spark, and {names} can't be imported.").format(
                names=", ".join(missing)
            ),
            where='[engine] name = "spark"',
            fix=_('Install it: pip install "vigie[spark]"; or set [engine] name = "duckdb".'),
        )


def _refuse_without_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    version = _java_version(java) if java else None
    if version is not None and version >= _JAVA:
        return
    if version is None:
        what = _("Spark needs Java {wanted}, and there is none.").format(wanted=_JAVA)
    else:
        what = _("Spark needs Java {wanted}, and this is Java {found}.").format(
            wanted=_JAVA, found=version
        )
    raise SparkUnavailable(
        what,
        where=(f"JAVA_HOME={home}" if home else "PATH"),
        fix=_(
            "Install it (Debian, Ubuntu: apt install openjdk-17-jre-headless), or let JAVA_HOME "
            "name its folder."
        ),
    )


def _java_version(java: str) -> int | None:
    """Return the major version of a Java, None where it doesn't say."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else None


def _refuse_silence(master: str) -> None:
    """Knock at the master before Spark does: Spark would try for a minute and more."""
    tried: list[str] = []
    scheme = urlsplit(master).scheme
    # A cluster may have several masters, one of which leads: spark://a:7077,b:7077.
    addresses = master.removeprefix(f"{scheme}://").partition("/")[0].split(",")
    if scheme not in _PORTS:
        return
    for address in addresses:
        host, _colon, port = address.partition(":")
        try:
            socket.create_connection((host, int(port or _PORTS[scheme])), ANSWER_SECONDS).close()
        except (OSError, ValueError) as error:
            tried.append(f"{host}:{port or _PORTS[scheme]}: {error}")
        else:
            return
    raise SparkUnavailable(
        _("No Spark answers at {master}.").format(master=master),
        where=_("tried: {tried}").format(tried="; ".join(tried)),
        fix=_(
            "Start the cluster, or correct [engine] spark_master; "
            'local[*] needs no cluster, and [engine] name = "duckdb" no Spark.'
        ),
    )


# --- what goes wrong ---------------------------------------------------------------------------


def first_line(error: BaseException) -> str:
    """Return what an error of Spark says before its Java part begins."""
    java = getattr(error, "java_exception", None)
    text = str(java.toString()) if java is not None else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:400]


@contextmanager
def spark_errors(log: Path | None = None) -> Iterator[None]:
    """Turn what Spark raises in the block into an error of ours."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in {"pyspark", "py4j", "grpc"}:
            raise
        raise SparkFailed(
            _("Spark couldn't finish the work: {reason}").format(reason=first_line(error)),
            fix=_("Look into {log} and the cluster's own logs.").format(
                log=log or "logs/spark.log"
            ),
        ) from error
