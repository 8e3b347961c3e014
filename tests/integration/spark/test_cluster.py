"""The same on a cluster of several processes, and behind a Spark Connect server."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.integration.spark.parity import (
    Result,
    assert_same_matrix,
    assert_same_tables,
    takes_minutes,
)
from tests.integration.spark.test_parity import CUTOFF, by_duckdb, oulad_raw
from vigie.dataset.spec import Dataset

__all__ = ["by_duckdb", "oulad_raw"]
MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def java_process(
    log: Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a class of Spark's own package; it is ended by its id."""
    import pyspark

    home = Path(pyspark.__file__).parent
    known = os.environ | {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "512m",
        **environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [home / "bin" / arguments[0], *arguments[1:]],
            stdout=output,
            stderr=output,
            env=known,
            cwd=log.parent,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def wait_for(log: Path, words: str, times: int = 1) -> None:
    # A busy machine takes minutes to start Java.
    end = time.monotonic() + 400
    while log.read_text(errors="replace").count(words) < times:
        assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master and two workers with one core each, on loopback."""
    folder = tmp_path_factory.mktemp("cluster")
    port = free_port()
    log = folder / "master.log"
    address = f"spark://127.0.0.1:{port}"
    place = ("--host", "127.0.0.1", "--webui-port", "0")
    with java_process(log, "spark-class", MASTER, *place, "--port", str(port)):
        wait_for(log, "I have been elected leader")
        with java_process(
            folder / "one.log", "spark-class", WORKER, *_worker(folder, "one"), address
        ):
            with java_process(
                folder / "two.log", "spark-class", WORKER, *_worker(folder, "two"), address
            ):
                wait_for(log, "Registering worker", times=2)
                yield address


def _worker(folder: Path, name: str) -> tuple[str, ...]:
    place = ("--host", "127.0.0.1", "--webui-port", "0", "--work-dir", str(folder / name))
    return (*place, "--cores", "1", "--memory", "1g")


def run_elsewhere(master: str, raw: Path, folder: Path) -> Result:
    """Run both engines' common part in a process of its own: this one has its Java already."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integration.spark.elsewhere",
            master,
            raw,
            folder,
            str(CUTOFF),
        ],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    extracted, report, features = pickle.loads((folder / "result.pkl").read_bytes())
    assert json.loads(done.stdout.splitlines()[-1])["master"] == master
    return Result(folder, extracted, report, pq.read_table(folder / "matrix.parquet"), features)


@takes_minutes
def test_oulad_on_a_standalone_cluster(
    cluster: str, oulad_raw: Path, oulad: Dataset, by_duckdb: Result, tmp_path: Path
) -> None:
    theirs = run_elsewhere(cluster, oulad_raw, tmp_path)
    assert_same_tables(by_duckdb, theirs, oulad)
    assert_same_matrix(by_duckdb, theirs)


@takes_minutes
def test_oulad_behind_spark_connect(
    oulad_raw: Path, oulad: Dataset, by_duckdb: Result, tmp_path: Path
) -> None:
    port = free_port()
    log = tmp_path / "connect.log"
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
    }
    given = [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]
    server = ("spark-submit", "--master", "local[2]", "--class", CONNECT, *given, "spark-internal")
    with java_process(log, *server, SPARK_NO_DAEMONIZE="1"):
        wait_for(log, "Spark Connect server started at")
        theirs = run_elsewhere(f"sc://127.0.0.1:{port}", oulad_raw, tmp_path / "found")
    assert_same_tables(by_duckdb, theirs, oulad)
    assert_same_matrix(by_duckdb, theirs)
