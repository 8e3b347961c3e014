"""Text for CSV files that people open in a spreadsheet, which would run some of it."""

from __future__ import annotations

import re

# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_PLAIN_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def harmless_text(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula.

    >>> harmless_text("=1+1"), harmless_text("-12"), harmless_text("o'clock")
    ("'=1+1", '-12', "o'clock")
    """
    if _FORMULA.match(text) and not _PLAIN_NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def restore_text(cell: str) -> str:
    """Return what ``harmless_text`` was given.

    >>> restore_text("'=1+1"), restore_text("'t Hooft")
    ('=1+1', "'t Hooft")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
