"""Numbers as people of a language write them."""

from __future__ import annotations

from dataclasses import dataclass

_NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Numbers:
    r"""Writes numbers in a language.

    Parameters
    ----------
    language
        ``"en"`` or ``"fr"``.

    Examples
    --------
    >>> english, french = Numbers("en"), Numbers("fr")
    >>> english.decimal(1234.5, 1), french.decimal(1234.5, 1)
    ('1,234.5', '1\u202f234,5')
    >>> english.percent(0.931, 1), french.percent(0.931, 1)
    ('93.1%', '93,1\xa0%')
    """

    language: str

    def count(self, value: int | None) -> str:
        """Return a whole number with its thousands apart; a dash where there is none."""
        if value is None:
            return NOTHING
        return f"{value:,}".replace(",", _NARROW_SPACE if self.language == "fr" else ",")

    def decimal(self, value: float | None, digits: int = 3) -> str:
        """Return a number with so many decimals; a dash where there is none."""
        if value is None:
            return NOTHING
        text = f"{value:,.{digits}f}"
        if self.language != "fr":
            return text
        return text.replace(",", _NARROW_SPACE).replace(".", ",")

    def percent(self, share: float | None, digits: int = 0) -> str:
        """Return a share (0 to 1) in percent; a dash where there is none."""
        if share is None:
            return NOTHING
        text = self.decimal(share * 100, digits)
        return f"{text}\N{NO-BREAK SPACE}%" if self.language == "fr" else f"{text}%"
