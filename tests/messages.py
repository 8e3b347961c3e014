"""Keeps the gettext catalogues: ``make messages`` (``python -m tests.messages``).

Collects the messages of the code, merges them into the French catalogue without losing a
translation, and compiles it. Prints what still lacks a translation.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from cyclopts import App

from vigie.commands.app import app
from vigie.commands.help import paragraphs

ROOT = Path(__file__).resolve().parent.parent
FRENCH = ROOT / "vigie" / "locale" / "fr" / "LC_MESSAGES" / "vigie.po"


def collected() -> Catalog:
    """Return the messages that stand in the code."""
    catalog = Catalog(project="vigie")
    found = extract_from_dir(
        ROOT / "vigie",
        method_map=[("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")],
        keywords={"_": None, "later": None, "ngettext": (1, 2)},
    )
    for file, _line, message, comments, context in sorted(found, key=lambda one: (one[0], one[1])):
        catalog.add(message, locations=[(file, 0)], auto_comments=comments, context=context)
    for name, message in help_messages(app):
        catalog.add(message, locations=[(name, 0)])
    return catalog


def help_messages(group: App) -> Iterator[tuple[str, str]]:
    """Yield what the docstrings of the commands say on help pages, each with the command."""
    if group.default_command is not None:
        for paragraph in paragraphs(group.default_command):
            yield group.name[0], paragraph
        for argument in group.assemble_argument_collection(parse_docstring=True):
            if argument.show and argument.parameter.help:
                yield group.name[0], " ".join(argument.parameter.help.split())
    for name in group:
        if not name.startswith("-"):
            yield from help_messages(group[name])


def french() -> Catalog:
    """Return the French catalogue as it is kept."""
    with FRENCH.open("rb") as opened:
        return read_po(opened, locale="fr", domain="vigie")


def compiled(catalog: Catalog) -> bytes:
    """Return the catalogue as gettext reads it at run time."""
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def untranslated(catalog: Catalog) -> list[str]:
    """Return the messages without a translation, or with one that is only a guess."""
    return [
        str(message.id)
        for message in catalog
        if message.id and (not message.string or message.fuzzy or not all(message.string))
    ]


def main() -> int:
    """Bring the catalogue up to date; return 1 where translations are missing."""
    FRENCH.parent.mkdir(parents=True, exist_ok=True)
    catalog = french() if FRENCH.exists() else Catalog(locale="fr", domain="vigie")
    catalog.update(collected(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    with FRENCH.open("wb") as opened:
        write_po(opened, catalog, width=100, sort_output=True, omit_header=False, no_location=True)
    FRENCH.with_suffix(".mo").write_bytes(compiled(french()))
    missing = untranslated(french())
    for message in missing:
        print(f"no translation: {message!r}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
