"""What is missing for Spark is named before Spark is started."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from vigie.errors import SparkFailed, SparkUnavailable
from vigie.spark import session
from vigie.spark.session import SparkOptions, open_spark, spark_errors


def options(tmp_path: Path, master: str = "local[2]") -> SparkOptions:
    return SparkOptions(master, 2, "1GB", tmp_path / "spark.log", tmp_path / "scratch")


def refusal(given: SparkOptions) -> SparkUnavailable:
    with pytest.raises(SparkUnavailable) as caught, open_spark(given):
        pass
    return caught.value


def test_without_pyspark_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    error = refusal(options(tmp_path))
    assert "pyspark" in error.what
    assert 'pip install "vigie[spark]"' in str(error.fix)


def test_without_java_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: object())
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    error = refusal(options(tmp_path))
    assert error.what == "Spark needs Java 17, and there is none."
    assert "openjdk-17-jre-headless" in str(error.fix)


def test_an_old_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: object())
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert refusal(options(tmp_path)).what == "Spark needs Java 17, and this is Java 8."


@pytest.mark.parametrize(
    "master", ["spark://127.0.0.1:{port},127.0.0.1:{port}", "sc://127.0.0.1:{port}"]
)
def test_a_master_that_does_not_answer_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: str
) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: object())
    monkeypatch.setattr(session, "_java_version", lambda java: 17)
    monkeypatch.setattr(session.shutil, "which", lambda name: "/usr/bin/java")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.monotonic()
    error = refusal(options(tmp_path, master.format(port=port)))
    assert time.monotonic() - begin < 8
    assert f"127.0.0.1:{port}: " in str(error.where)


def test_only_what_spark_raises_is_turned_into_our_error() -> None:
    foreign = type("SparkException", (Exception,), {"__module__": "pyspark.errors.exceptions"})
    with pytest.raises(SparkFailed, match="boom"), spark_errors():
        raise foreign("boom\n\tat java.lang.Thread")
    with pytest.raises(ValueError, match="ours"), spark_errors():
        raise ValueError("ours")
