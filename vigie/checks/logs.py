"""Whether the log can be written, and whether the last run's has errors."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vigie.checks.context import CheckContext
from vigie.checks.finding import Finding
from vigie.checks.resources import existing_part
from vigie.i18n import _, ngettext
from vigie.verdict import Verdict

NAME = "logs"
TAIL_BYTES = 4_000_000
SHOWN_CHARACTERS = 120
_ERROR = re.compile(r"\S+ \S+ (?:ERROR|CRITICAL) +(.*)")
# The banner of every run, in any language.
_BEGIN = re.compile(r"\S+ \S+ INFO +🚀")


@dataclass(frozen=True, slots=True)
class LoggedError:
    """A line of a log that tells of an error; lines count from 1."""

    line: int
    text: str


def check_logs(context: CheckContext) -> Iterator[Finding]:
    """Find out whether the log can be written, and whether the last one has errors."""
    log = context.paths.log
    shown = str(log.relative_to(context.paths.project))
    reason = why_not_writable(log)
    if reason is not None:
        yield Finding(
            NAME,
            Verdict.FAIL,
            _("{log} can't be written: {reason}").format(log=shown, reason=reason),
            _("Give yourself the right to write into {folder}.").format(folder=log.parent),
        )
        return
    if not log.is_file():
        yield Finding(NAME, Verdict.PASS, _("{log} can be written").format(log=shown))
        return
    errors = last_errors(log, context.log_bytes)
    if not errors:
        said = _("{log} can be written, and the last run's has no errors")
        yield Finding(NAME, Verdict.PASS, said.format(log=shown))
        return
    count = ngettext("{count} error", "{count} errors", len(errors)).format(count=len(errors))
    said = _("{log} has {count} of the last run; line {line}: {text}").format(
        log=shown, count=count, line=errors[-1].line, text=errors[-1].text
    )
    fix = _("Read {log} from line {line} on, and mend the cause.")
    yield Finding(NAME, Verdict.WARN, said, fix.format(log=shown, line=errors[0].line))


def why_not_writable(log: Path) -> str | None:
    """Return why `log` can't be written, or None; nothing is left behind."""
    try:
        if log.is_file():
            with log.open("ab"):
                return None
        if log.exists() or (log.parent.exists() and not log.parent.is_dir()):
            return _("something else has that name")
        with tempfile.TemporaryFile(dir=existing_part(log.parent)):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def last_errors(log: Path, end: int | None = None) -> list[LoggedError]:
    """Return the errors of the last run in the first `end` bytes of `log`, oldest first."""
    size = log.stat().st_size if end is None else end
    lines_before = 0
    with log.open("rb") as stream:
        while size - stream.tell() > TAIL_BYTES:
            lines_before += stream.read(min(TAIL_BYTES, size - TAIL_BYTES - stream.tell())).count(
                b"\n"
            )
        text = stream.read(size - stream.tell()).decode("utf-8", errors="replace")
    found: list[LoggedError] = []
    for number, line in enumerate(text.split("\n"), start=lines_before + 1):
        if _BEGIN.match(line):
            found.clear()
        elif match := _ERROR.match(line):
            found.append(LoggedError(number, match[1][:SHOWN_CHARACTERS]))
    return found
