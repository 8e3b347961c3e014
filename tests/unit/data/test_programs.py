"""Programs that Python has to fork for: Ctrl-C is never lost."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOST = """
import os, signal, subprocess, sys, time
from vigie.data.programs import run_to_end

def pressed():
    os.kill(os.getpid(), signal.SIGINT)
    for _time in range(100):
        time.sleep(0.001)

os.register_at_fork(after_in_parent=pressed)
run = {"plain": subprocess.run, "ours": run_to_end}[sys.argv[1]]
try:
    run(["true"], preexec_fn=lambda: None)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize(("how", "said"), [("plain", ""), ("ours", "heard\n")])
def test_ctrl_c_while_python_forks_is_not_dropped(how: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST, how], capture_output=True, text=True, check=True
    )
    # What Python itself does with it, and why we don't leave it to it.
    assert done.stdout == said
    assert ("KeyboardInterrupt" in done.stderr) == (how == "plain")
