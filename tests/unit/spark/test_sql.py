"""DuckDB's dialect in Spark's: what sqlglot alone would get wrong."""

from __future__ import annotations

import pytest
from sqlglot.errors import SqlglotError

from vigie.spark.sql import to_spark


@pytest.mark.parametrize(
    ("duckdb", "spark"),
    [
        ('SELECT * EXCLUDE (a) FROM "t"', "SELECT * EXCEPT (a) FROM `t`"),
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a NULLS LAST"),
        ("SELECT a // 2 FROM t", "SELECT a DIV 2 FROM t"),
        ("SELECT trim(a) FROM t", r"SELECT REGEXP_REPLACE(a, '^\\p{Zs}+|\\p{Zs}+$', '') FROM t"),
        (
            "SELECT a / nullif(b, 0) FROM t",
            "SELECT TRY_DIVIDE(CAST(a AS DOUBLE), CAST(NULLIF(b, 0) AS DOUBLE)) FROM t",
        ),
        ("SELECT CAST(a IN (1) AS TINYINT)", "SELECT CAST(a IN (1) AS TINYINT)"),
        ("SELECT CAST(a AS VARCHAR)", "SELECT CAST(a AS STRING)"),
        (
            "SELECT unnest(generate_series(1, 3)) + 1 AS n",
            (
                "SELECT vigie_unnested + 1 AS n FROM (SELECT EXPLODE(SEQUENCE(1, 3)) AS "
                "vigie_unnested) AS vigie_rows"
            ),
        ),
    ],
)
def test_one_meaning_in_both_dialects(duckdb: str, spark: str) -> None:
    assert to_spark(duckdb) == spark


def test_fractions_are_rounded_not_cut() -> None:
    assert to_spark("SELECT CAST(a AS INTEGER) FROM t") == (
        "SELECT CASE WHEN TYPEOF(a) IN ('float', 'double') THEN "
        "CAST(BROUND(CAST(a AS DOUBLE)) AS INT) ELSE CAST(a AS INT) END FROM t"
    )


def test_division_by_nothing_gives_what_duckdb_gives() -> None:
    said = to_spark("SELECT a / b FROM t")
    for part in ("DOUBLE('Infinity')", "DOUBLE('-Infinity')", "DOUBLE('NaN')", "TRY_DIVIDE"):
        assert part in said


def test_what_cannot_be_understood_is_an_error() -> None:
    with pytest.raises(SqlglotError):
        to_spark("SELECT FROM WHERE (")
