"""What a person sees: banner, numbered steps, progress, summary; and the log that has it all.

The console listens to the runner (``RunObserver``) and is what steps speak to (``Reporter``).
Everything shown goes to ``logs/pipeline_{mode}.log`` as well, with a timestamp.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from vigie.i18n import _
from vigie.pipeline.ledger import Outcome
from vigie.pipeline.planner import Blocked, Plan, Run, Skip
from vigie.pipeline.progress import BAR_AFTER_SECONDS, LiveBar, PlainLines, Silent, Work
from vigie.pipeline.reasons import InputWillChange, Reason, UpToDate
from vigie.pipeline.step import ProgressBar, Step
from vigie.terminal import draw, is_terminal, open_screen

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

WIDTH = 70
# The log has them all.
SHOWN_REASONS = 5

LOGGER = logging.getLogger("vigie")


@dataclass(frozen=True, slots=True)
class StepTexts:
    """How a step is called: in the heading, when it is done, in the file list."""

    heading: str
    done: str


def step_texts(name: str) -> StepTexts:
    """Return the words for a step, in the language in use."""
    return {
        "extract": StepTexts(_("EXTRACTING THE DATA"), _("Extraction done in {seconds:.2f}s")),
        "transform": StepTexts(
            _("TRANSFORMING THE DATA"), _("Transformation done in {seconds:.2f}s")
        ),
        "load": StepTexts(_("LOADING INTO POSTGRESQL"), _("Loading done in {seconds:.2f}s")),
        "features": StepTexts(_("BUILDING THE FEATURES"), _("Features done in {seconds:.2f}s")),
        "train": StepTexts(_("TRAINING THE MODEL"), _("Training done in {seconds:.2f}s")),
        "evaluate": StepTexts(_("EVALUATING THE MODEL"), _("Evaluation done in {seconds:.2f}s")),
        "predict": StepTexts(_("PREDICTING THE RISKS"), _("Predictions done in {seconds:.2f}s")),
    }[name]


@dataclass(slots=True)
class Console:
    """The console and the log of one run.

    Parameters
    ----------
    mode
        ``"dev"`` or ``"prod"``.
    quiet
        Shows warnings and errors only; the log still has everything.
    stream
        Where to write.
    expected_seconds
        How long each step took the last time, where that is known.
    step
        The step that runs.
    """

    mode: str
    quiet: bool = False
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    expected_seconds: dict[str, float] = field(default_factory=dict)
    step: str | None = None
    _screen: RichConsole | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it live."""
        return is_terminal(self.stream)

    @property
    def width(self) -> int:
        """How long rules are: no longer than the window is wide."""
        return min(WIDTH, self.screen().width) if self.is_terminal else WIDTH

    def screen(self) -> RichConsole:
        """Return what draws on the terminal; bar and lines share it, so that neither breaks."""
        if self._screen is None:
            self._screen = open_screen(self.stream)
        return self._screen

    def line(self, text: str = "", *, level: int = logging.INFO) -> None:
        """Show one line and log it."""
        if text.strip("=- "):
            LOGGER.log(level, "%s", text.strip())
        if not self.quiet or level >= logging.WARNING:
            if self.is_terminal:
                draw(self.screen(), text, _style(text.lstrip(), level))
            else:
                print(text, file=self.stream, flush=True)

    # --- banner and summary ------------------------------------------------------------------

    def banner(self, steps: Sequence[str]) -> None:
        """Show what is about to happen."""
        self.line("=" * self.width)
        self.line(_("🚀 PIPELINE ORCHESTRATOR - MODE: {mode}").format(mode=self.mode.upper()))
        self.line("=" * self.width)
        self.line(_("📋 Steps to run: {steps}").format(steps=", ".join(steps)))

    def explain(self, plan: Plan) -> None:
        """Show the plan: what each step would do, and why."""
        for decision in plan.decisions:
            match decision:
                case Run() if decision.is_tentative:
                    verb = _("run if needed")
                case Run():
                    verb = _("run")
                case Skip():
                    verb = _("skip")
                case Blocked():
                    verb = _("blocked")
            self.line(f"   {decision.step:<10} {verb:<14} {_why(decision.reasons)}")

    def summary(
        self,
        total_seconds: float,
        files: Sequence[tuple[str, str]],
        next_steps: Sequence[str] = (),
    ) -> None:
        """Show how long everything took, what was made, and what to do next."""
        self.line()
        self.line("=" * self.width)
        self.line(_("🎉 PIPELINE FINISHED SUCCESSFULLY!"))
        self.line("=" * self.width)
        minutes = total_seconds / 60
        self.line(
            _("⏱️  Total time: {seconds:.2f}s ({minutes:.1f} min)").format(
                seconds=total_seconds, minutes=minutes
            )
        )
        self.line()
        self.line(_("📊 SUMMARY BY STEP:"))
        for name, seconds in self.seconds.items():
            if name in self.skipped:
                self.line(f"   ⏭️  {name.upper()}: {self.skipped[name]}")
            else:
                self.line(f"   ✅ {name.upper()}: {seconds:.2f}s")
        if files:
            self.line()
            self.line(_("📁 FILES MADE:"))
            for label, path in files:
                self.line(_("   • {label}: {path}").format(label=label, path=path))
        if next_steps:
            self.line()
            self.line(_("👉 NEXT:"))
            for one in next_steps:
                self.line(f"   • {one}")
        self.line("=" * self.width)

    # --- what the runner tells ---------------------------------------------------------------

    def plan_made(self, plan: Plan) -> None:
        """Log the plan; warn where the requested steps build on results that are out of date."""
        for decision in plan.decisions:
            reasons = "; ".join(reason.describe() for reason in decision.reasons)
            LOGGER.debug("plan: %s %s: %s", type(decision).__name__, decision.step, reasons)
        if plan.stale:
            names = ", ".join(one.step for one in plan.stale)
            why = "; ".join(reason.describe() for reason in plan.stale[0].reasons)
            self.line(
                _("⚠️  Out of date but not asked for, used as they are: {steps} ({why})").format(
                    steps=names, why=why
                ),
                level=logging.WARNING,
            )

    def step_started(self, index: int, count: int, step: Step, reasons: Sequence[Reason]) -> None:
        """Show the heading of a step."""
        self.step = step.name
        self._heading(index, count, step)
        LOGGER.debug("why: %s", "; ".join(reason.describe() for reason in reasons))

    def step_skipped(self, index: int, count: int, step: Step, reasons: Sequence[UpToDate]) -> None:
        """Show that a step has nothing to do."""
        self._heading(index, count, step)
        why = "; ".join(reason.describe() for reason in reasons)
        self.line(_("⏭️  Skipped: {why}").format(why=why))
        self.seconds[step.name] = 0.0
        self.skipped[step.name] = _("skipped, {why}").format(why=why)

    def step_goes_on(self, step: Step) -> None:
        """Show that a step goes on beside the next ones; its own lines come when it has ended."""
        self.line("   " + _("goes on beside the next steps"))
        # It keeps its place in the summary.
        self.seconds[step.name] = 0.0
        LOGGER.debug("beside the next steps: %s", step.name)

    def step_tells(self, index: int, count: int, step: Step) -> None:
        """Name the step again where the heading of another one stands between."""
        if step.name != self.step:
            self.step = step.name
            self.line()
            self.line(
                _("🔹 Meanwhile, step {index}/{count}: {heading}").format(
                    index=index, count=count, heading=step_texts(step.name).heading
                )
            )

    def step_finished(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        """Show how long a step took."""
        self.seconds[step.name] = outcome.seconds
        self.line("✅ " + step_texts(step.name).done.format(seconds=outcome.seconds))

    def step_stopped(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        """Show that a step did not end well."""
        self.line(
            _("❌ Step {step} stopped after {seconds:.2f}s").format(
                step=step.name, seconds=outcome.seconds
            ),
            level=logging.ERROR,
        )

    def _heading(self, index: int, count: int, step: Step) -> None:
        self.line()
        self.line(
            _("🔵 STEP {index}/{count}: {heading}").format(
                index=index, count=count, heading=step_texts(step.name).heading
            )
        )
        self.line("-" * self.width)

    # --- what steps say ----------------------------------------------------------------------

    def say(self, message: str) -> None:
        """Show something worth knowing."""
        self.line(f"   {message}")

    def warn(self, message: str) -> None:
        """Show something that may make the result worse than it looks."""
        self.line(f"⚠️  {message}", level=logging.WARNING)

    @contextmanager
    def progress(
        self, description: str, total: float | None, unit: str | None = None
    ) -> Iterator[ProgressBar]:
        """Show progress once the block has lasted two seconds."""
        if self.quiet:
            yield Silent()
            return
        work = Work(description, total, unit, self.expected_seconds.get(self.step or ""))
        if self.is_terminal:
            with self._live(work) as bar:
                yield bar
        else:
            yield PlainLines(self.line, work)

    @contextmanager
    def _live(self, work: Work) -> Iterator[ProgressBar]:
        live = LiveBar(self.screen(), work)
        timer = threading.Timer(BAR_AFTER_SECONDS, live.start)
        timer.daemon = True
        timer.start()
        try:
            yield live
        finally:
            timer.cancel()
            live.stop()


def _style(body: str, level: int) -> str:
    if level >= logging.ERROR:
        return "bold red"
    if level >= logging.WARNING:
        return "yellow"
    if body.startswith(("🚀", "🔵", "🔹", "🎉", "📊", "📁", "👉")):
        return "bold"
    return "dim" if body and not body.strip("=-") else ""


def _why(reasons: Sequence[Reason]) -> str:
    """Return the reasons in one line, what one step makes anew named once."""
    coming: dict[str, list[str]] = {}
    texts: list[str] = []
    for reason in reasons:
        if isinstance(reason, InputWillChange):
            coming.setdefault(reason.by_step, []).append(f"`{reason.name}`")
        else:
            texts.append(reason.describe())
    if len(texts) > SHOWN_REASONS:
        more = _("and {count} more").format(count=len(texts) - SHOWN_REASONS + 1)
        texts = [*texts[: SHOWN_REASONS - 1], more]
    texts += [
        _("step {step} makes {names} anew").format(step=step, names=", ".join(names))
        for step, names in coming.items()
    ]
    return "; ".join(texts)


def start_log(path: Path) -> int:
    """Send everything that is logged to the mode's log file, with timestamps; return its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A full disk shows in what the run makes; the log must not cover the screen with it.
    logging.raiseExceptions = False
    for old in list(LOGGER.handlers):
        LOGGER.removeHandler(old)
        old.close()
    size = path.stat().st_size if path.exists() else 0
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    return size
