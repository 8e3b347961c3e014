"""What a person sees: banner, numbered steps, progress, summary; and the log that has it all.

The console listens to the runner (``RunObserver``) and is what steps speak to (``Reporter``).
Everything shown goes to ``logs/pipeline_{mode}.log`` as well, with a timestamp.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from vigie.i18n import _
from vigie.pipeline.ledger import Outcome
from vigie.pipeline.planner import Blocked, Plan, Run, Skip
from vigie.pipeline.reasons import InputWillChange, Reason, UpToDate
from vigie.pipeline.step import ProgressBar, Step

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, ProgressColumn, TaskID

WIDTH = 70
BAR_AFTER_SECONDS = 2.0
# Often enough to be seen moving, seldom enough for a slow connection.
BAR_REFRESHES_PER_SECOND = 4
# How much farther in a line goes on that is too long for the window.
HANGING = 2
# Narrower windows have no room for the rate, or for the bar itself.
ROOM_FOR_RATE, ROOM_FOR_BAR = 50, 64
PLAIN_EVERY_SECONDS = 10.0
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
    _bar: Progress | None = None
    _screen: RichConsole | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it live, on something that can do more than print lines."""
        return self.stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}

    @property
    def width(self) -> int:
        """How long rules are: no longer than the window is wide."""
        return min(WIDTH, self.screen().width) if self.is_terminal else WIDTH

    def screen(self) -> RichConsole:
        """Return what draws on a terminal; it knows its width, and whether colour is wanted."""
        from rich.console import Console as RichConsole

        if self._screen is None:
            self._screen = RichConsole(
                file=self.stream, markup=False, highlight=False, emoji=False, soft_wrap=True
            )
        return self._screen

    def line(self, text: str = "", *, level: int = logging.INFO) -> None:
        """Show one line and log it."""
        if text.strip("=- "):
            LOGGER.log(level, "%s", text.strip())
        if not self.quiet or level >= logging.WARNING:
            if self.is_terminal:
                _draw(self.screen(), text, level)
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
            yield _Silent()
            return
        work = _Work(description, total, unit, self.expected_seconds.get(self.step or ""))
        if self.is_terminal:
            with self._live(work) as bar:
                yield bar
        else:
            yield _PlainLines(self, work)

    @contextmanager
    def _live(self, work: _Work) -> Iterator[ProgressBar]:
        live = _LiveBar(self, work)
        timer = threading.Timer(BAR_AFTER_SECONDS, live.start)
        timer.daemon = True
        timer.start()
        try:
            yield live
        finally:
            timer.cancel()
            live.stop()


def _draw(screen: RichConsole, text: str, level: int) -> None:
    """Show a line in its style; what is too long goes on below, farther in."""
    from rich.text import Text

    body = text.lstrip(" ")
    indent = len(text) - len(body)
    drawn = Text(body, style=_style(body, level))
    if indent + drawn.cell_len <= screen.width:
        screen.print(Text(" " * indent) + drawn)
        return
    for number, part in enumerate(drawn.wrap(screen, max(10, screen.width - indent - HANGING))):
        part.rstrip()
        screen.print(Text(" " * (indent + (HANGING if number else 0))) + part)


def _style(body: str, level: int) -> str:
    if level >= logging.ERROR:
        return "bold red"
    if level >= logging.WARNING:
        return "yellow"
    if body.startswith(("🚀", "🔵", "🎉", "📊", "📁", "👉")):
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


@dataclass(frozen=True, slots=True)
class _Work:
    """What is being done: how much of it in all, and how long it took the last time."""

    description: str
    total: float | None
    unit: str | None = None
    expected_seconds: float | None = None
    started: float = field(default_factory=time.monotonic)

    def rate(self, done: float) -> str:
        """Return how quickly it goes, on the whole."""
        seconds = time.monotonic() - self.started
        if not done or not self.total or seconds <= 0:
            return ""
        if self.unit == "bytes":
            return _("{rate:.1f} MB/s").format(rate=done / seconds / 1e6)
        if self.unit == "rows":
            return _("{rate} rows/s").format(rate=f"{done / seconds:,.0f}")
        return _("{rate:.1f} %/s").format(rate=done / self.total / seconds * 100)

    def seconds_left(self, done: float) -> float | None:
        """Return how long it will take still, at the pace so far."""
        if not done or not self.total:
            return None
        return (time.monotonic() - self.started) * max(0.0, self.total / done - 1)


class _Silent:
    def advance_to(self, done: float) -> None:
        """Show nothing."""


class _PlainLines:
    """A line now and then, for logs and pipes."""

    def __init__(self, console: Console, work: _Work) -> None:
        self.console, self.work = console, work
        self.next_line = work.started + BAR_AFTER_SECONDS

    def advance_to(self, done: float) -> None:
        """Show the share that is done, how quickly and for how long still; every ten seconds."""
        now = time.monotonic()
        if now >= self.next_line and self.work.total:
            self.next_line = now + PLAIN_EVERY_SECONDS
            told = [f"{done / self.work.total:.0%}", self.work.rate(done)]
            left = self.work.seconds_left(done)
            if left is not None:
                told.append(_("{seconds:.0f} s left").format(seconds=left))
            self.console.line(f"   … {self.work.description}: {', '.join(filter(None, told))}")


class _LiveBar:
    """A Rich progress bar that appears late and leaves nothing behind."""

    def __init__(self, console: Console, work: _Work) -> None:
        self.console, self.work = console, work
        self.done = 0.0
        self.task: TaskID | None = None
        self.lock = threading.Lock()
        self.stopped = False

    def start(self) -> None:
        """Show the bar (called two seconds after the step began)."""
        from rich.progress import Progress

        with self.lock:
            if self.stopped:
                return
            screen = self.console.screen()
            bar = Progress(
                *_columns(screen.width, self.work),
                console=screen,
                transient=True,
                refresh_per_second=BAR_REFRESHES_PER_SECOND,
            )
            self.task = bar.add_task(self.work.description, total=self.work.total, **self._shown())
            bar.start()
            self.console._bar = bar  # noqa: SLF001 - the bar and its console are one thing

    def _shown(self) -> dict[str, Any]:
        left = self.work.seconds_left(self.done)
        return {
            "completed": self.done,
            "rate": self.work.rate(self.done),
            "left": "" if left is None else _("{seconds:.0f} s left").format(seconds=left),
        }

    def advance_to(self, done: float) -> None:
        """Move the bar."""
        self.done = done
        bar = self.console._bar  # noqa: SLF001
        if bar is not None and self.task is not None:
            bar.update(self.task, **self._shown())

    def stop(self) -> None:
        """Take the bar away."""
        with self.lock:
            self.stopped = True
            bar, self.console._bar = self.console._bar, None  # noqa: SLF001
            if bar is not None:
                bar.stop()


def _columns(width: int, work: _Work) -> Iterator[ProgressColumn]:
    """Yield what a bar shows: in a narrow window less, never on two lines."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    def text(shape: str) -> ProgressColumn:
        return TextColumn(shape, table_column=Column(no_wrap=True))

    yield TextColumn(
        "   {task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")
    )
    if work.total is None:
        yield TimeElapsedColumn()
        if work.expected_seconds:
            yield text(_("of about {seconds:.0f} s").format(seconds=work.expected_seconds))
        return
    if width >= ROOM_FOR_BAR:
        yield BarColumn(bar_width=width // 4)
    yield text("{task.percentage:>3.0f}%")
    if width >= ROOM_FOR_RATE:
        yield text("{task.fields[rate]}")
    yield text("{task.fields[left]}")
