"""With a person at the terminal, init asks; what is answered is taken."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

ANSWERS = ("colour\n", "2\n")


def test_a_person_at_the_terminal_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    colours = ("red", "red", "blue")
    rows = [f"{n},{colours[n % 3]},{'yes' if n % 5 else 'no'}" for n in range(150)]
    file.write_text("\n".join(["n,colour,churn", *rows]) + "\n", "utf-8")
    command = [sys.executable, "-m", "vigie.cli", "init", str(file), "--lang", "en"]
    command += ["--project", str(tmp_path / "project")]
    main, side = pty.openpty()
    child = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, cwd=tmp_path)
    os.close(side)
    said, answered, deadline = "", 0, time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            piece = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece.decode("utf-8", "replace")
        if said.count("> ") > answered and answered < len(ANSWERS):
            os.write(main, ANSWERS[answered].encode())
            answered += 1
    os.close(main)
    assert child.wait(timeout=30) == 0, said
    assert "Which column is to be predicted?" in said
    assert "Which value of colour is the one to be warned of?" in said
    assert "to be predicted: colour = blue" in said
    text = (tmp_path / "project" / "dataset.toml").read_text("utf-8")
    assert 'positive = ["blue"]' in text
