"""The production checklist of a run: answered, told and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from vigie.checks.check import CHECKS, CheckContext, Finding, as_json, lines_of, run_checks
from vigie.errors import CheckFailed
from vigie.i18n import _
from vigie.paths import ProjectPaths
from vigie.pipeline.console import Console
from vigie.pipeline.record import RunRecord
from vigie.settings import LoadedSettings, project_option
from vigie.typed import with_option
from vigie.verdict import Verdict


def answer(context: CheckContext, skip: Sequence[str]) -> list[Finding]:
    """Answer the checklist; the commands that it names are those of the context's project."""
    checks = {name: check for name, check in CHECKS.items() if context.paths.mode != name}
    option = project_option(context.paths.project)
    return [
        replace(one, fix=with_option(one.fix, option)) if one.fix else one
        for one in run_checks(context, skip=skip, checks=checks)
    ]


def audit_of_dev(
    settings: LoadedSettings, paths: ProjectPaths, *, before_auditing: Callable[[], None]
) -> list[dict[str, Any]]:
    """Return the parts of the audit of dev's results as plain values; see ``known_audit``."""
    from vigie.audit.run import known_audit

    dev = replace(paths, mode="dev")
    found: dict[str, Any] = known_audit(settings, dev, before_auditing=before_auditing)
    return list(found["parts"])


def pass_checks(findings: Sequence[Finding], console: Console, record: RunRecord) -> None:
    """Tell what the checks found before the first step, and keep it.

    Raises
    ------
    CheckFailed
        When one failed: the run is to stop.
    """
    record.content["checks"] = as_json(findings)["checks"]
    console.line(_("🔎 Checks before production:"))
    for one in findings:
        bad = one.status in {Verdict.WARN, Verdict.FAIL}
        for line in lines_of(one):
            console.line(f"   {line}", level=logging.WARNING if bad else logging.INFO)
    failed = [one.name for one in findings if one.status == Verdict.FAIL]
    if failed:
        raise CheckFailed(
            _("The run was stopped by its checks before production: {names}.").format(
                names=", ".join(failed)
            ),
            fix=_(
                "Mend what the arrows above name, or leave a check out (it is recorded): "
                "--skip-check {names}"
            ).format(names=" ".join(failed)),
        )
