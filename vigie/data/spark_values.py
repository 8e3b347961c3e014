"""What odd texts of a raw file are: DuckDB says it once for each, Spark applies it to the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vigie.data.typed_text import bounds, misfit, type_reason, typed_value
from vigie.dataset.spec import Column, Table
from vigie.engine import open_duckdb
from vigie.i18n import _
from vigie.spark import lines as sql

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = ("integer", "day", "number")
_WHOLE = ("integer", "day")


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The odd texts of a file by the number of their column.

    Each table has the columns ``t`` (the text), ``v`` (its value, or NULL), ``uncastable`` (no
    number at all, where one is declared), ``unfit`` (it doesn't fit the type) and ``fast`` (it
    parses as a number and yet doesn't fit, or isn't of another type).
    """

    fields: Sequence[sql.Field]
    odd: dict[int, pa.Table] = field(default_factory=dict)

    def resolved(self, session: Any, rows: Any) -> Any:
        """Return rows with the values of their odd texts, and what DuckDB said of these."""
        # Without pyspark.sql.functions: behind Spark Connect these are others.
        for number, table in self.odd.items():
            name, key = sql.name_of(self.fields[number].name), f"vigie_t_{number}"
            names = ["v", "uncastable", "unfit", "fast"]
            said = session.createDataFrame(table).selectExpr(
                f"t AS {key}", *(f"{one} AS vigie_{one}_{number}" for one in names)
            )
            kept = [sql.name_of(one) for one in rows.columns if sql.name_of(one) != name]
            texts = rows.selectExpr(
                "*", f"get(filter({sql.ODD}, x -> x.c = {number}), 0).t AS {key}"
            )
            rows = texts.join(said.hint("broadcast"), key, "left").selectExpr(
                *kept,
                f"coalesce({name}, vigie_v_{number}) AS {name}",
                *(
                    f"coalesce(vigie_{one}_{number}, false) AS vigie_{one}_{number}"
                    for one in names[1:]
                ),
            )
        return rows

    def fault_cases(self, table: Table) -> tuple[str, str, str]:
        """Return three expressions over resolved rows.

        The number of the first column that holds no number (NULL without one); whether a value
        parses but doesn't fit; the number of the first fault of a close look (NULL without one).
        """
        parses, close = ["false"], []
        in_file = sorted(range(len(self.fields)), key=lambda one: self.fields[one].position)
        uncastable = [
            f"WHEN vigie_uncastable_{number} THEN {number}"
            for number in in_file
            if number in self.odd and self.fields[number].type in _NUMBERS
        ]
        faults = 0
        for number, (name, column) in enumerate(table.columns.items()):
            value = sql.name_of(name)
            limits = [condition for _reason, condition in bounds(value, column)]
            if number in self.odd:
                parses.append(f"vigie_fast_{number}")
                close.append(f"WHEN vigie_unfit_{number} THEN {faults}")
            if column.type in _WHOLE:
                parses.append(f"coalesce(abs({value}) > 2147483647, false)")
            parses += [f"coalesce({one}, false)" for one in limits]
            close += [f"WHEN {one} THEN {faults + 1 + at}" for at, one in enumerate(limits)]
            faults += 1 + len(limits)
        return _case(uncastable), f"({' OR '.join(parses)})", _case(close)

    def reasons(self, table: Table, *, closely: bool) -> list[str]:
        """Return the texts that the numbers of ``fault_cases`` stand for."""
        if not closely:
            return [_("{column}: not a number").format(column=one.name) for one in self.fields]
        return [
            f"{name}: {reason}"
            for name, column in table.columns.items()
            for reason in (type_reason(column), *(said for said, _sql in bounds("v", column)))
        ]


def _case(cases: list[str]) -> str:
    return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS INT)"


def judge_odd_texts(
    found: Sequence[tuple[int, str]], fields: Sequence[sql.Field], table: Table
) -> Verdicts:
    """Return what DuckDB makes of texts, each with the number of its column."""
    import pyarrow as pa

    verdicts = Verdicts(fields)
    if not found:
        return verdicts
    with open_duckdb(threads=1) as connection:
        for number in sorted({one for one, _text in found}):
            texts = pa.table({"t": pa.array([t for n, t in found if n == number], pa.string())})
            connection.register("odd", texts)
            column = table.columns[fields[number].name]
            judged = connection.execute(_verdict_sql(column)).to_arrow_table()
            verdicts.odd[number] = judged
            connection.unregister("odd")
    return verdicts


def _verdict_sql(column: Column) -> str:
    value = typed_value("t", column)
    unfit = misfit("t", value, column)
    number = "TRY_CAST(t AS DOUBLE)"
    if column.type in _WHOLE:
        fast = f"{number} <> round({number}) OR abs({number}) > 2147483647"
    else:
        fast = "false" if column.type == "number" else unfit
    uncastable = f"{number} IS NULL" if column.type in _NUMBERS else "false"
    return (
        f"SELECT t, {value} AS v, ({uncastable}) AS uncastable, coalesce({unfit}, false) AS unfit, "
        f"coalesce({fast}, false) AS fast FROM odd"
    )
