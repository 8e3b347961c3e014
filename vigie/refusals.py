"""What DuckDB has against an expression of a declaration, as its writer needs it told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vigie.errors import DeclarationError
from vigie.i18n import _
from vigie.names import suggest

_KIND = re.compile(r"^\w+( \w+)? Error: ")
# What DuckDB says in the same way of a file that is damaged: no expression's fault.
_OF_A_FILE = re.compile("magic bytes|parquet|footer|thrift|snappy", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_MISSING = re.compile(r'Referenced column "([^"]+)" not found')


@contextmanager
def declared_expressions(place: str, names: Iterable[str] = ()) -> Iterator[None]:
    """Raise what DuckDB can't understand, or carry out on the rows, as a fault of the declaration.

    Parameters
    ----------
    place
        What the expressions are of.
    names
        What they may use.

    Raises
    ------
    DeclarationError
        With DuckDB's reason and, for a column that isn't there, the nearest name.
    """
    import duckdb

    try:
        yield
    except (
        duckdb.BinderException,
        duckdb.CatalogException,
        duckdb.ParserException,
        duckdb.ConversionException,
        duckdb.OutOfRangeException,
        duckdb.InvalidInputException,
    ) as error:
        if _OF_A_FILE.search(_QUOTED.sub("", str(error))):
            raise
        reason, way_out = why_refused(error, names)
        if isinstance(error, duckdb.ConversionException):
            way_out = _("correct it: TRY_CAST gives NULL where CAST fails")
        raise DeclarationError(
            _("An expression of the declaration fails: {reason}.").format(
                reason=reason.rstrip(".!")
            ),
            where=place,
            fix=f"{way_out[0].upper()}{way_out[1:]}" + ("" if way_out.endswith("?") else "."),
        ) from error


def why_refused(error: Exception, names: Iterable[str]) -> tuple[str, str]:
    """Return what is wrong with an expression, and the way out; both without a full stop.

    Parameters
    ----------
    error
        DuckDB's.
    names
        Of the columns that there are, beside those that DuckDB itself proposes.
    """
    message = str(error)
    missing = _MISSING.search(message)
    if missing is None:
        return _KIND.sub("", message.split("\n", maxsplit=1)[0]), _("correct the expression")
    proposed = set(re.findall(r'"([^"]+)"', message.partition("Candidate bindings")[2]))
    known = {*names, *proposed, *(one.rpartition(".")[2] for one in proposed)}
    # What Ibis calls its own is nobody else's.
    known = {one for one in known if not one.startswith("ibis_")}
    what = _("there is no column {name!r}").format(name=missing[1])
    nearest = suggest(missing[1], sorted(known))
    if nearest:
        return what, _("did you mean {nearest!r}?").format(nearest=nearest)
    return what, _("there are: {names}").format(names=", ".join(sorted(known)))
