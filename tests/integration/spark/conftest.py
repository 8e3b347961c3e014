"""Spark for tests: skipped where it isn't installed, one session of this process for all."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vigie.spark.session import SparkOptions, open_spark

# Short runs on small data: the first compiler is enough, and few threads collect the garbage.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
# Hundreds of small queries: writing and compiling code for each takes longer than running it.
NO_CODE = ("spark.sql.codegen.wholeStage", "false")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = None
    if importlib.util.find_spec("pyspark") is None:
        missing = "PySpark is not here: make setup-spark"
    elif shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        missing = "Java is not here: apt install openjdk-17-jre-headless"
    for item in items:
        if missing and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=missing))


def spark_options(folder: Path, master: str = "local[2]") -> SparkOptions:
    return SparkOptions(master, 2, "1GB", folder / "spark.log", folder / "scratch")


@pytest.fixture(scope="package")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_spark(spark_options(tmp_path_factory.mktemp("spark"))) as session:
        session.conf.set(*NO_CODE)
        yield session
