"""Whole texts that people read, kept in files: a change of one is seen, and is meant.

``make golden`` (``VIGIE_WRITE_GOLDEN=1 pytest tests/golden``) writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "texts"
WRITE = "VIGIE_WRITE_GOLDEN"


def check_golden(name: str, text: str) -> None:
    """Compare `text` with the kept one of that name, or keep it."""
    path = FOLDER / f"{name}.txt"
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get(WRITE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    kept = path.read_text("utf-8") if path.exists() else ""
    assert text == kept, f"{path.name} is not as it was; if that is meant: make golden"
