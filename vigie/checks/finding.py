"""What a check has found, and how a list of findings is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vigie import verdict
from vigie.i18n import _, ngettext
from vigie.verdict import Verdict

NAME_WIDTH = 12


_ORDER = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Parameters
    ----------
    name
        The check's name, as ``--skip-check`` takes it.
    status
        How it came out.
    said
        What was found, for people; one line for each thing.
    fix
        Commands or edits that mend it, one line each; None where nothing is to be mended.
    """

    name: str
    status: Verdict
    said: str
    fix: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"name": self.name, "status": str(self.status), "said": self.said, "fix": self.fix}


def merge(name: str, findings: Sequence[Finding]) -> Finding:
    """Return the one finding that several of a check come to: the worst, with all that is wrong.

    Examples
    --------
    >>> good = Finding("disk", Verdict.PASS, "enough")
    >>> bad = Finding("disk", Verdict.WARN, "little", "make room")
    >>> merge("disk", [good, bad])
    Finding(name='disk', status=<Verdict.WARN: 'warn'>, said='little', fix='make room')
    """
    worst = max((one.status for one in findings), key=_ORDER.index)
    if worst in {Verdict.WARN, Verdict.FAIL}:
        findings = [one for one in findings if one.status in {Verdict.WARN, Verdict.FAIL}]
    ranked = sorted(findings, key=lambda one: -_ORDER.index(one.status))
    fixes = list(dict.fromkeys(one.fix for one in ranked if one.fix))
    return Finding(name, worst, "\n".join(one.said for one in ranked), "\n".join(fixes) or None)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the worst status: a run goes on unless it is ``fail``."""
    return max((one.status for one in findings), key=_ORDER.index, default=Verdict.PASS)


def render_text(findings: Sequence[Finding]) -> str:
    """Return one line a check, with what else was found and the fixes indented below.

    Examples
    --------
    >>> print(render_text([Finding("raw", Verdict.FAIL, "There are no raw data.", "Get some.")]))
    ❌ raw          There are no raw data.
                    → Get some.
    1 check: 1 fail
    """
    lines = [line for one in findings for line in lines_of(one)]
    words = {
        Verdict.PASS: _("pass"),
        Verdict.WARN: _("warn"),
        Verdict.FAIL: _("fail"),
        Verdict.SKIPPED: _("skipped"),
    }
    statuses = [one.status for one in findings]
    counts = [(statuses.count(status), word) for status, word in words.items()]
    total = ngettext("{count} check", "{count} checks", len(findings)).format(count=len(findings))
    shown = ", ".join(f"{count} {word}" for count, word in counts if count)
    return "\n".join([*lines, _("{total}: {shown}").format(total=total, shown=shown)])


def lines_of(finding: Finding) -> list[str]:
    """Return a finding's line, then what else was found and the fixes, indented."""
    indent = " " * (NAME_WIDTH + 4)
    return [
        *verdict.lines_of(finding.status, finding.name, finding.said, NAME_WIDTH),
        *(f"{indent}→ {fix}" for fix in (finding.fix or "").splitlines()),
    ]


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings and their worst status as plain JSON values."""
    return {
        "status": str(worst(findings)),
        "checks": [finding.to_record() for finding in findings],
    }
