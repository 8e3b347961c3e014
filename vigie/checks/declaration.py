"""Whether the declaration's SQL can be understood."""

from __future__ import annotations

from collections.abc import Iterable

from vigie.checks.context import CheckContext
from vigie.checks.finding import Finding
from vigie.data.expressions import expression_faults
from vigie.dataset.declaration import declaration_error, read_declaration
from vigie.i18n import _
from vigie.verdict import Verdict

NAME = "declaration"


def check_declaration(context: CheckContext) -> Iterable[Finding]:
    """Return every expression that the tables, as declared, can't answer."""
    faults = expression_faults(context.dataset)
    if not faults:
        return [Finding(NAME, Verdict.PASS, _("tables, keys and expressions hold together"))]
    text, origin = read_declaration(context.settings.get("dataset"), context.paths.project)
    error = declaration_error(faults, text, origin)
    place = f"{error.where}: " if len(faults) == 1 and error.where else ""
    return [Finding(NAME, Verdict.FAIL, place + error.what, error.fix)]
