"""What a terminal gets: lines that fit, a bar that goes away, colour only where it is wanted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from tests.conftest import ROOT

SCRIPT = """
import logging, time
from vigie.pipeline import console as module, progress
from vigie.pipeline.console import LOGGER, Console
from vigie.pipeline.definition import pipeline_steps
module.BAR_AFTER_SECONDS = 0.05
LOGGER.addHandler(logging.NullHandler())
console = Console("dev")
steps = pipeline_steps("dev")
console.banner([step.name for step in steps])
console.step_started(3, 7, steps[2], ())
with console.progress("loading into PostgreSQL", 2_000, "rows") as bar:
    for done in range(100, 2_000, 100):
        time.sleep(0.03)
        bar.advance_to(done)
        if done == 1_000:
            console.say("a line in the middle of it, longer than the narrowest of windows is")
console.warn("the new model is worse by more than 0.005: the old one stays the current one")
console.summary(1.0, [("Predictions", "reports/predictions_dev.csv")], ["open it"])
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|38;[0-9;]+|9[0-7])(?:;\d+)*m")


def shown(columns: int, **environ: str) -> str:
    """Return every byte that a terminal of that width got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=theirs,
        stderr=theirs,
        env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environ},
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert started.wait() == 0, b"".join(parts).decode()
    return b"".join(parts).decode("utf-8")


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_nothing_is_wider_than_the_window(columns: int) -> None:
    # Colours stand within a line, what moves the cursor between lines.
    text = ESCAPE.sub("\n", STYLE.sub("", shown(columns)))
    lines = re.split(r"[\r\n]+", text)
    assert max(len(line) for line in lines) <= columns
    assert any("loading into PostgreSQL" in line and "%" in line for line in lines)
    assert any("s left" in line for line in lines)
    assert any("rows/s" in line for line in lines) == (columns >= 50)


def test_the_bar_is_taken_away_and_the_cursor_comes_back() -> None:
    text = shown(100)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    after = text[text.index("\x1b[?25h") :]
    assert "s left" not in after


def test_colour_is_left_out_where_it_is_not_wanted() -> None:
    assert COLOUR.search(shown(80))
    assert not COLOUR.search(shown(80, NO_COLOR="1"))


def test_a_dumb_terminal_gets_lines_only() -> None:
    text = shown(80, TERM="dumb")
    assert "\x1b" not in text
    assert "PIPELINE FINISHED" in text
