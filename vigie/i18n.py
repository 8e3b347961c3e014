"""What a person reads, in that person's language (gettext catalogues under ``vigie/locale``).

Messages are written in English at the place where they arise, as
``_("Step {name} failed.").format(name=...)``: the placeholders are filled after the look-up, so
that a translator sees one stable sentence.
"""

from __future__ import annotations

import gettext
import os
from contextvars import ContextVar
from pathlib import Path

LANGUAGES = ("en", "fr")
LOCALE_DIR = Path(__file__).parent / "locale"

_translations: ContextVar[gettext.NullTranslations | None] = ContextVar(
    "vigie_translations", default=None
)


def language_from_environment(environ: dict[str, str] | os._Environ[str] | None = None) -> str:
    """Return the language (``"en"`` or ``"fr"``) that the POSIX locale variables ask for."""
    variables = os.environ if environ is None else environ
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = variables.get(name)
        if value:
            return "fr" if value.lower().startswith("fr") else "en"
    return "en"


def use_language(language: str) -> None:
    """Make ``_`` answer in `language`; English where no catalogue exists."""
    translations = gettext.translation(
        "vigie", localedir=str(LOCALE_DIR), languages=[language], fallback=True
    )
    _translations.set(gettext.NullTranslations() if language == "en" else translations)


def _(message: str) -> str:
    """Return `message` in the language in use (English until ``use_language`` is called)."""
    translations = _translations.get()
    return message if translations is None else translations.gettext(message)


def later(message: str) -> str:
    """Mark a message that stands in a table; whoever shows it passes it through ``_``."""
    return message


def ngettext(singular: str, plural: str, count: int) -> str:
    """Return the form of the message that fits `count` in the language in use."""
    translations = _translations.get()
    if translations is None:
        return singular if count == 1 else plural
    return translations.ngettext(singular, plural, count)
