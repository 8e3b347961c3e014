"""What the command line asks a run for, and what a run says of itself while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.errors import UsageError
from vigie.i18n import _
from vigie.names import MODES, STEP_NAMES, unknown_name

if TYPE_CHECKING:
    from vigie.pipeline.planner import Plan


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks for.

    ``steps`` None means all; ``force`` None means nothing, an empty tuple every step that is run.
    ``wait_seconds`` is how long to wait for another run of the mode to end; ``skip_check`` names
    checks before production that are left out; ``accept`` takes a new model even if it is worse;
    ``answer`` keeps the standard output free for the machine-readable result.
    """

    mode: str = "dev"
    steps: tuple[str, ...] | None = None
    cutoff_days: int | None = None
    project: Path | None = None
    config: Path | None = None
    force: tuple[str, ...] | None = None
    explain: bool = False
    lang: str | None = None
    quiet: bool = False
    debug: bool = False
    wait_seconds: float = 0.0
    skip_check: tuple[str, ...] = ()
    accept: bool = False
    answer: bool = False
    command: Sequence[str] = ()

    def flags(self) -> dict[str, Any]:
        """Return the settings that flags give, by dotted key."""
        given = {"cutoff_days": self.cutoff_days, "lang": self.lang}
        return {key: value for key, value in given.items() if value is not None}

    def checked(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Return mode, steps in pipeline order and forced steps.

        Raises
        ------
        UsageError
            For a name that there isn't; it says which there are.
        """
        if self.mode not in MODES:
            raise unknown_name(_("mode"), self.mode, MODES, "--mode")
        wanted = STEP_NAMES if self.steps is None else self.steps
        if not wanted:
            raise UsageError(
                _("--steps names no step."),
                where="--steps",
                fix=_("Name one or more of: {names}.").format(names=" ".join(STEP_NAMES)),
            )
        for name in (*wanted, *(self.force or ())):
            if name not in STEP_NAMES:
                raise unknown_name(_("step"), name, STEP_NAMES, "--steps")
        steps = tuple(name for name in STEP_NAMES if name in wanted)
        forced = steps if self.force == () else self.force or ()
        if self.accept:
            if "train" not in steps:
                raise UsageError(
                    _("--accept is about a new model, and train is not among the steps."),
                    where="--accept",
                    fix=_("Leave --steps out, or name train too."),
                )
            # The model that was turned down is made again: the same one, from the same things.
            forced = (*forced, "train")
        return self.mode, steps, tuple(forced)


@dataclass(slots=True)
class RunTrace:
    """Where to find what a run came to, however it ended; filled in while it goes on.

    Parameters
    ----------
    state
        The project's ``.vigie``.
    run_id
        None until the run has its record.
    plan
        None until it is made.
    outputs
        What each step makes, as people call it.
    """

    state: Path
    mode: str
    run_id: str | None = None
    plan: Plan | None = None
    outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
