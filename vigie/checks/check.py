"""The production checklist: every check, one after the other, none of which can stop another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from vigie.checks.backup import check_backup
from vigie.checks.context import CheckContext
from vigie.checks.database import check_credentials
from vigie.checks.declaration import check_declaration
from vigie.checks.dev_run import check_dev
from vigie.checks.finding import Finding, as_json, lines_of, merge, render_text, worst
from vigie.checks.logs import check_logs
from vigie.checks.raw_files import check_raw
from vigie.checks.resources import check_disk, check_memory
from vigie.checks.results_audit import check_audit
from vigie.checks.versions import check_versions
from vigie.errors import VigieError
from vigie.i18n import _
from vigie.names import unknown_name
from vigie.verdict import Verdict

__all__ = [
    "CHECKS",
    "Check",
    "CheckContext",
    "Finding",
    "as_json",
    "lines_of",
    "refuse_unknown",
    "render_text",
    "run_checks",
    "worst",
]

Check = Callable[[CheckContext], Iterable[Finding]]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "dev": check_dev,
        "declaration": check_declaration,
        "raw": check_raw,
        "credentials": check_credentials,
        "backup": check_backup,
        "disk": check_disk,
        "memory": check_memory,
        "logs": check_logs,
        "versions": check_versions,
        "audit": check_audit,
    }
)


def run_checks(
    context: CheckContext,
    *,
    skip: Collection[str] = (),
    checks: Mapping[str, Check] = CHECKS,
) -> list[Finding]:
    """Return one finding for each check, in their order; skipped ones are among them.

    Raises
    ------
    UsageError
        `skip` names a check that there isn't.
    """
    refuse_unknown(skip, checks)
    return [
        Finding(name, Verdict.SKIPPED, _("skipped, as asked for"))
        if name in skip
        else _run(name, check, context)
        for name, check in checks.items()
    ]


def refuse_unknown(skip: Collection[str], checks: Collection[str] = CHECKS.keys()) -> None:
    """Raise ``UsageError`` for a name in `skip` that is no check's."""
    for name in skip:
        if name not in checks:
            raise unknown_name(_("check"), name, checks, "--skip-check")


def _run(name: str, check: Check, context: CheckContext) -> Finding:
    """Run a check; whatever breaks it becomes what it found."""
    from vigie.data.address import mask_password

    try:
        return merge(name, list(check(context)))
    except VigieError as error:
        said = error.what if error.where is None else f"{error.what}\n{error.where}"
        return Finding(name, Verdict.FAIL, mask_password(said), error.fix)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        place = f" ({error.filename})" if error.filename else ""
        return Finding(
            name,
            Verdict.FAIL,
            _("It could not be looked at: {reason}").format(reason=reason + place),
            _("Give yourself the right to read it."),
        )
    except Exception as error:
        reason = mask_password(f"{type(error).__name__}: {error}".splitlines()[0])
        return Finding(
            name,
            Verdict.WARN,
            _("The check itself broke: {reason}").format(reason=reason),
            _("Look by hand, and leave it out with --skip-check {name}.").format(name=name),
        )
