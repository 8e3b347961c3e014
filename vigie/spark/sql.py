"""SQL in DuckDB's dialect, said in Spark's.

Declarations and the statements of transform are written once, for DuckDB. sqlglot turns them into
Spark's dialect; what it lets stand although the two engines mean different things by it is put
right here, on its syntax tree.
"""

from __future__ import annotations

from typing import Any

_WHOLE = ("TINYINT", "SMALLINT", "INT", "BIGINT")


def to_spark(sql: str) -> str:
    """Return one statement of DuckDB's dialect in Spark's.

    Raises
    ------
    sqlglot.errors.SqlglotError
        When the statement can't be understood, or has no equivalent.
    """
    import sqlglot

    tree = sqlglot.parse_one(sql, dialect="duckdb")
    tree = _generators_apart(tree.transform(_as_meant))
    return str(tree.sql(dialect="spark", unsupported_level=sqlglot.ErrorLevel.RAISE))


def _as_meant(node: Any) -> Any:
    """Return a node that means on Spark what `node` means on DuckDB."""
    from sqlglot import exp

    if isinstance(node, exp.Trim) and node.expression is None and not node.args.get("position"):
        # DuckDB trims every space of Unicode, Spark the one of ASCII only.
        return _call("regexp_replace", node.this, r"^\p{Zs}+|\p{Zs}+$", "")
    if isinstance(node, exp.Div):
        return _divided(node)
    if isinstance(node, exp.Cast) and node.to.this.name in _WHOLE:
        return _rounded(node)
    return node


def _divided(node: Any) -> Any:
    """Return a division that gives infinity or NaN where Spark would stop."""
    from sqlglot import exp

    above, below = node.this, node.expression
    safe = isinstance(below, exp.Nullif) or (
        isinstance(below, exp.Literal) and not below.is_string and float(below.this) != 0
    )
    doubles = [exp.cast(side.copy(), "double", dialect="spark") for side in (above, below)]
    divided = exp.Anonymous(this="try_divide", expressions=doubles)
    if safe:
        return divided
    ends = exp.Case()
    for sign, text in ((">", "Infinity"), ("<", "-Infinity")):
        condition = {">": exp.GT, "<": exp.LT}[sign](
            this=above.copy(), expression=exp.Literal.number(0)
        )
        ends = ends.when(condition, _special(text))
    ends = ends.when(
        exp.Not(this=exp.Is(this=above.copy(), expression=exp.Null())), _special("NaN")
    )
    by_zero = exp.EQ(this=below.copy(), expression=exp.Literal.number(0))
    return exp.Case().when(by_zero, ends).else_(divided)


def _special(text: str) -> Any:
    from sqlglot import exp

    return exp.Anonymous(this="double", expressions=[exp.Literal.string(text)])


def _rounded(node: Any) -> Any:
    """Return a cast to whole numbers that rounds fractions, to even, where Spark would cut."""
    from sqlglot import exp

    value = node.this.unnest()
    plain = exp.Literal | exp.Null | exp.Predicate | exp.Connector | exp.Not | exp.Substring
    if isinstance(value, plain) or value.find(exp.Window, exp.Subquery, exp.Exists):
        return node
    kind = exp.Anonymous(this="typeof", expressions=[value.copy()])
    is_fraction = exp.In(
        this=kind, expressions=[exp.Literal.string("float"), exp.Literal.string("double")]
    )
    whole = exp.Anonymous(
        this="bround", expressions=[exp.cast(value.copy(), "double", dialect="spark")]
    )
    rounded = exp.Cast(this=whole, to=node.to.copy())
    return exp.Case().when(is_fraction, rounded).else_(node.copy())


def _call(name: str, value: Any, *texts: str) -> Any:
    from sqlglot import exp

    # Raw strings: Spark reads backslashes as escapes otherwise.
    literals = [exp.RawString(this=text) for text in texts]
    return exp.Anonymous(this=name, expressions=[value.copy(), *literals])


def _generators_apart(tree: Any) -> Any:
    """Move ``unnest(...)`` inside of an expression to a place of its own; Spark asks for that."""
    from sqlglot import exp

    for select in list(tree.find_all(exp.Select)):
        for projection in select.expressions:
            value = projection.this if isinstance(projection, exp.Alias) else projection
            found = [one for one in value.find_all(exp.Explode) if one.parent_select is select]
            for generator in found:
                if generator is not value:
                    _move_generator(select, generator)
    return tree


def _move_generator(select: Any, generator: Any) -> None:
    from sqlglot import exp

    name = "vigie_unnested"
    generator.replace(exp.column(name))
    if select.args.get("from_") is None and select.args.get("from") is None:
        rows = exp.select(exp.alias_(generator, name)).subquery("vigie_rows")
        select.from_(rows, copy=False)
    else:
        alias = exp.TableAlias(
            this=exp.to_identifier("vigie_rows"), columns=[exp.to_identifier(name)]
        )
        select.append("laterals", exp.Lateral(this=generator, view=True, alias=alias))
