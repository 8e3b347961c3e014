"""OULAD on a Spark that an address names; run as a program, the result is left in files."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import pyarrow.parquet as pq

from tests.conftest import ROOT
from tests.integration.spark.conftest import NO_CODE
from tests.integration.spark.parity import on_spark
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.spark.session import SparkOptions, open_spark


def main(master: str, raw: str, folder: str, cutoff: str) -> None:
    there = Path(folder)
    text, origin = read_declaration("oulad", ROOT)
    dataset = parse_dataset(text, origin)
    options = SparkOptions(master, 2, "1GB", there / "spark.log", there / "scratch")
    with open_spark(options) as session:
        session.conf.set(*NO_CODE)
        found = on_spark(session, Path(raw), dataset, there, cutoff=int(cutoff))
    pq.write_table(found.matrix, there / "matrix.parquet")
    result = (found.extracted, found.report, found.features)
    (there / "result.pkl").write_bytes(pickle.dumps(result))
    print(json.dumps({"master": master}))


if __name__ == "__main__":
    main(*sys.argv[1:])
