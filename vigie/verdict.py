"""How a check or a part of an audit came out, and the sign that people see."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """From good to bad; a skipped one says nothing."""

    SKIPPED = "skipped"
    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"

    @property
    def sign(self) -> str:
        """The sign before its line, two columns wide."""
        signs = {Verdict.SKIPPED: "➖", Verdict.PASS: "✅", Verdict.WARN: "⚠️ "}
        return signs.get(self, "❌")


def lines_of(status: Verdict, name: str, said: str, width: int) -> list[str]:
    """Return the line that says how `name` came out, and what else was said, indented."""
    first, *others = said.splitlines() or [""]
    indent = " " * (width + 4)
    return [f"{status.sign} {name:<{width}} {first}", *(f"{indent}{other}" for other in others)]
