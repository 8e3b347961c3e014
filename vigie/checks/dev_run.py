"""Whether dev has come through with the code, configuration and declaration that prod would use.

What counts is that each step of dev once succeeded with its present fingerprint, on what the step
before it had made. Which raw files that was about is another question (``raw``), and what dev has
left on the disk may have been cleared away since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vigie.checks.context import CheckContext
from vigie.checks.finding import Finding
from vigie.i18n import _
from vigie.pipeline.fingerprint import Fingerprint, fingerprint
from vigie.pipeline.ledger import Outcome, Status
from vigie.pipeline.planner import changes, makers_of
from vigie.pipeline.reasons import (
    InputChanged,
    NeverRan,
    ParamChanged,
    PreviousFailed,
    Reason,
    shown_time,
)
from vigie.pipeline.step import Step
from vigie.verdict import Verdict

NAME = "dev"
# The language of figures: a nightly run has another than the person who tried it.
NO_MATTER = frozenset({"lang"})
SHOWN_REASONS = 6


@dataclass(frozen=True, slots=True)
class DevRun:
    """How dev's past compares with the present.

    Parameters
    ----------
    missing
        What sets each step apart that has not succeeded as it is now.
    used
        The success of each other step that counts.
    has_succeeded
        Whether any step ever succeeded.
    """

    missing: Mapping[str, tuple[Reason, ...]]
    used: Mapping[str, Outcome] = field(default_factory=dict)
    has_succeeded: bool = False

    @property
    def when(self) -> str:
        """When the last of the steps that count had ended."""
        return max(outcome.finished for outcome in self.used.values())


def check_dev(context: CheckContext) -> Iterator[Finding]:
    """Find out whether dev succeeded with this code, configuration and data declaration."""
    dev = context.open_dev()
    raw = context.raw.state()
    found = compare(
        dev.steps,
        values=dev.values,
        code=dev.code,
        libraries=dev.libraries,
        outcomes=list(dev.ledger.outcomes()),
        raw=raw,
    )
    # A run of single steps needs no more than these to have been tried.
    found = replace(
        found, missing={name: why for name, why in found.missing.items() if name in context.steps}
    )
    again = context.command("vigie run --mode dev")
    if not any(True for _outcome in dev.ledger.outcomes()):
        # A first run in production has nothing yet that it could spoil.
        first = not any(True for _outcome in context.ledger(context.paths.mode).outcomes())
        verdict = Verdict.WARN if first else Verdict.FAIL
        yield Finding(NAME, verdict, _("dev has never run here."), again)
    elif not found.has_succeeded:
        yield Finding(NAME, Verdict.FAIL, _("dev has never succeeded here."), again)
    elif found.missing:
        said = "\n".join([_("dev has not succeeded as things are now:"), *_lines(found.missing)])
        yield Finding(NAME, Verdict.FAIL, said, again)
    elif _only_generated(found, raw):
        said = _("dev succeeded on {when}, but on generated data only.")
        yield Finding(NAME, Verdict.WARN, said.format(when=shown_time(found.when)), again)
    else:
        said = _("succeeded on {when} with this code, configuration and data declaration")
        yield Finding(NAME, Verdict.PASS, said.format(when=shown_time(found.when)))


def compare(
    steps: Sequence[Step],
    *,
    values: Mapping[str, Any],
    code: Callable[[Step], Mapping[str, str]],
    libraries: Callable[[Iterable[str]], Mapping[str, str | None]],
    outcomes: Sequence[Outcome],
    raw: str | None,
) -> DevRun:
    """Compare each step's successes with its present fingerprint.

    Parameters
    ----------
    outcomes
        Dev's ledger, oldest first.
    raw
        State of the raw files now: a success with these is preferred to a later one with others.
    """
    makers = makers_of(steps)
    made: dict[str, str | None] = {}
    missing: dict[str, tuple[Reason, ...]] = {}
    used: dict[str, Outcome] = {}
    for step in steps:
        own = [outcome for outcome in reversed(outcomes) if outcome.step == step.name]
        successes = [outcome for outcome in own if outcome.status == Status.SUCCESS]
        given = {name for name in step.inputs if name not in makers}
        successes.sort(key=lambda one: not all(one.fingerprint.inputs.get(n) == raw for n in given))
        states = {name: made.get(name) for name in step.inputs}
        present = fingerprint(step, values, code(step), libraries(step.libraries), states)
        match = next((one for one in successes if not any(_changes(one, present, given))), None)
        if match is not None:
            used[step.name] = match
        elif successes:
            missing[step.name] = tuple(_changes(successes[0], present, given))
        elif own:
            missing[step.name] = (PreviousFailed(str(own[0].status), own[0].finished),)
        else:
            missing[step.name] = (NeverRan(),)
        # A step that has to run again most likely makes what it made: what comes after it is
        # then missing for reasons of its own only.
        source = match or next(iter(successes), None)
        for name in step.outputs:
            made[name] = source.outputs.get(name) if source else None
    ever = any(outcome.status == Status.SUCCESS for outcome in outcomes)
    return DevRun(missing, used, ever)


def _changes(success: Outcome, present: Fingerprint, given: Iterable[str]) -> Iterator[Reason]:
    """Yield what differs and matters; inputs that no step makes may be any."""
    for reason in changes(success.fingerprint, present):
        if isinstance(reason, ParamChanged) and reason.key in NO_MATTER:
            continue
        if isinstance(reason, InputChanged) and reason.name in given:
            continue
        yield reason


def _only_generated(found: DevRun, raw: str | None) -> bool:
    return any(
        outcome.facts.get("generated") and raw not in outcome.fingerprint.inputs.values()
        for outcome in found.used.values()
    )


def _lines(missing: Mapping[str, tuple[Reason, ...]]) -> list[str]:
    """Return a line for each reason with the steps that it concerns."""
    concerned: dict[str, list[str]] = {}
    for step, reasons in missing.items():
        for reason in reasons:
            concerned.setdefault(reason.describe(), []).append(step)
    lines = [f"{', '.join(steps)}: {text}" for text, steps in concerned.items()]
    if len(lines) > SHOWN_REASONS:
        more = _("and {count} more").format(count=len(lines) - SHOWN_REASONS + 1)
        lines = [*lines[: SHOWN_REASONS - 1], more]
    return lines
