"""The French catalogue: complete, with the same fields, and compiled."""

from __future__ import annotations

import string

from tests.messages import FRENCH, collected, compiled, french, untranslated


def fields(text: str) -> set[str]:
    """Return what ``format`` fills in, with how: a lost format shows a long number."""
    return {
        f"{name}!{conversion or ''}:{spec}"
        for _literal, name, spec, conversion in string.Formatter().parse(text)
        if name is not None
    }


def test_every_message_of_the_code_is_in_the_catalogue() -> None:
    assert {message.id for message in collected()} == {message.id for message in french()}


def test_nothing_lacks_a_translation() -> None:
    assert untranslated(french()) == []


def test_a_translation_has_the_fields_of_its_message() -> None:
    for message in french():
        if message.id:
            ids = [message.id] if isinstance(message.id, str) else message.id
            texts = [message.string] if isinstance(message.string, str) else message.string
            expected = set().union(*(fields(one) for one in ids))
            for text in texts:
                assert fields(text) == expected, message.id


def test_what_is_installed_is_the_catalogue() -> None:
    assert FRENCH.with_suffix(".mo").read_bytes() == compiled(french()), "run: make messages"
