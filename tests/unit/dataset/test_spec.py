"""Declarations: what does not hold is named, all of it at once, with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from vigie.dataset.declaration import declared_names, parse_dataset, read_declaration
from vigie.errors import DeclarationError

OULAD = ROOT / "vigie" / "dataset" / "declared" / "oulad.toml"


def changed(old: str, new: str) -> str:
    """Return the shipped declaration with its first `old` replaced."""
    text = OULAD.read_text("utf-8")
    assert old in text
    return text.replace(old, new, 1)


def test_the_shipped_declarations_hold() -> None:
    for name in declared_names():
        text, origin = read_declaration(name, ROOT)
        assert parse_dataset(text, origin).name == name


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('references = "courses"', 'references = "course"', "did you mean 'courses'"),
        ('table = "student_vle"', 'table = "students_vle"', "did you mean 'student_vle'"),
        ("[tables.vle]", "[tables.vle]\nfiel = 1", "tables.vle.fiel"),
        ("[tables.vle]", "[tables.vle", "not valid TOML"),
    ],
)
def test_a_fault_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(changed(old, new), "mine.toml")
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_every_fault_at_once() -> None:
    text = changed("[tables.vle]", "[tables.vle]\nfiel = 1").replace(
        "[tables.courses]", "[tables.courses]\nkolumns = 2", 1
    )
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(text, "mine.toml")
    assert "tables.vle.fiel" in str(caught.value)
    assert "tables.courses.kolumns" in str(caught.value)


def test_a_declaration_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(OULAD.read_text("utf-8"), "utf-8")
    _text, origin = read_declaration("mine.toml", tmp_path)
    assert origin == "mine.toml"
    with pytest.raises(DeclarationError, match="oulad") as caught:
        read_declaration("oulat", tmp_path)
    assert "Did you mean 'oulad'" in str(caught.value)
