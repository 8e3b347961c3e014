"""The audit of what dev has left, as a warning: a leak found now costs less than in production."""

from __future__ import annotations

from collections.abc import Iterable

from vigie.checks.context import CheckContext
from vigie.checks.finding import Finding
from vigie.errors import DataError, ModelError
from vigie.i18n import _
from vigie.verdict import Verdict

NAME = "audit"


def check_audit(context: CheckContext) -> Iterable[Finding]:
    """Return what the audit of dev's last results says; it never stops a run."""
    try:
        parts = context.audit_dev()
    except (DataError, ModelError):
        said = _("dev has left no results that could be audited")
        return [Finding(NAME, Verdict.WARN, said, "vigie run --mode dev")]
    bad = [part for part in parts if part["status"] != Verdict.PASS]
    if not bad:
        said = _("no feature knows the future, by all {count} parts of the audit of dev's results")
        return [Finding(NAME, Verdict.PASS, said.format(count=len(parts)))]
    return [
        Finding(NAME, Verdict.WARN, f"{part['name']}: {part['said']}", "vigie audit --mode dev")
        for part in bad
    ]
