"""How old the last backup is, where there is something to lose."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from vigie.checks.context import CheckContext
from vigie.checks.estimate import shown_bytes
from vigie.checks.finding import Finding
from vigie.i18n import _, ngettext
from vigie.pipeline.reasons import shown_time
from vigie.verdict import Verdict

NAME = "backup"
MAX_AGE = timedelta(days=7)


def check_backup(context: CheckContext) -> Iterator[Finding]:
    """Find out whether the mode's tables have a backup that is whole and recent."""
    from vigie.data.backup import list_backups

    mode = context.paths.mode
    again = f"vigie backup --mode {mode}"
    backups = [
        one for one in list_backups(context.paths.backups) if one.schema == context.paths.schema
    ]
    automatic = bool(context.settings.get(f"modes.{mode}.backup"))
    if not backups:
        yield _without(context, again, automatic=automatic)
        return
    newest = backups[0]
    age = datetime.now(UTC) - datetime.fromisoformat(newest.made_at)
    days = max(0, age.days)
    said = _("{name}, {size}, of {when} ({age})").format(
        name=newest.path.name,
        size=shown_bytes(newest.bytes),
        when=shown_time(newest.made_at),
        age=ngettext("{count} day old", "{count} days old", days).format(count=days),
    )
    old = age > MAX_AGE and not automatic
    yield Finding(NAME, Verdict.WARN if old else Verdict.PASS, said, again if old else None)


def _without(context: CheckContext, again: str, *, automatic: bool) -> Finding:
    loaded = context.ledger(context.paths.mode).last_success("load")
    if loaded is None:
        return Finding(NAME, Verdict.PASS, _("nothing was loaded yet that could be lost"))
    if automatic:
        return Finding(NAME, Verdict.PASS, _("none yet; the run makes one before it loads"))
    return Finding(NAME, Verdict.WARN, _("There is no backup of the tables."), again)
