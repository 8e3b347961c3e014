"""What is taken for outcome, bad value and key when nobody says so, on shapes of public files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from vigie.errors import UsageError
from vigie.infer.declare import Wishes, declare_file

ROWS = 200


def nobody(_question: str, _answers: Sequence[str]) -> str | None:
    return None


@dataclass(frozen=True)
class Guess:
    """A file's header, its rows by expressions, and what is to be taken for what."""

    header: str
    row: str
    target: str
    bad: str
    key: str | None = None
    group: str | None = None


GUESSES = {
    "credit: 2 is worse than 1": Guess("", "A1{k} {x} {one_two}", "c2", "2"),
    "mushrooms: the class comes first": Guess("", "{pe},x,{k},{k},{word}", "c0", "p"),
    "tumours: an identifier, then the class": Guess("", "{id},{mb},{x},{x},{x}", "c1", "M", "c0"),
    "identifiers that repeat": Guess("", "{id2},{k},{k},{two_four}", "c3", "4", None, "c0"),
    "heart: 0 is well, 1 to 4 are ill": Guess("", "{x},{k},{zero_one}.0,{x},{ill}", "c4", "> 0"),
    "wine: the lower half of a scale": Guess("a;b;quality", "{x};{x};{scale}", "quality", "<= 5"),
    "a ship: surviving is no bad outcome": Guess(
        "PassengerId,Survived,Name,Age", "{n},{zero_one},N{n},{k}", "Survived", "0", "PassengerId"
    ),
    "readmission: a patient's stays are together": Guess(
        "encounter_id,patient_nbr,gender,change,readmitted",
        "{id},{person},{mf},{yn},{late}",
        "readmitted",
        "<30",
        "encounter_id",
        "patient_nbr",
    ),
    "a name of several words": Guess(
        "X1,SEX,default payment next month,b", "{x},{mf},{zero_one},{yn}",
        "default payment next month", "1",
    ),
    "dismissal": Guess(",a,status", "{n},{x},{ends}", "status", "fired", "column_1"),
    "a counter of any name": Guess("rownames,a,churn", "{n},{x},{yn}", "churn", "yes", "rownames"),
}  # fmt: skip


def rows(template: str) -> str:
    rng = random.Random(7)
    made = []
    for n in range(1, ROWS + 1):
        values = {
            "n": n,
            "k": rng.randrange(9),
            "x": f"{rng.uniform(0, 9):.3f}",
            "id": 84_000 + n * 37,
            "id2": 84_000 + (n if n % 12 else 12) * 37,
            "person": 700 + n // 4,
            "one_two": rng.choice("1112"),
            "two_four": rng.choice("224"),
            "zero_one": rng.choice("001"),
            "ill": rng.choice("00001234"),
            "scale": rng.choice("345556667778"),
            "pe": rng.choice("pee"),
            "mb": rng.choice("MBB"),
            "mf": rng.choice(["male", "female"]),
            "yn": rng.choice(["yes", "no"]),
            "late": rng.choice(["NO", "NO", "NO", ">30", ">30", "<30"]),
            "ends": rng.choice(["ok", "promoted", "fired", "fired"]),
            "word": rng.choice("abcdefg"),
        }
        made.append(template.format(**values))
    return "\n".join(made) + "\n"


@pytest.mark.parametrize("name", GUESSES)
def test_what_is_meant_is_found(name: str, tmp_path: Path) -> None:
    wanted = GUESSES[name]
    file = tmp_path / "odd.csv"
    file.write_text((f"{wanted.header}\n" if wanted.header else "") + rows(wanted.row), "utf-8")
    made, _text = declare_file(file, Wishes(), ask=nobody)
    assert made.outcome is not None
    assert made.name(made.outcome.column) == wanted.target
    assert (made.outcome.comparison or made.outcome.values[0]) == wanted.bad
    assert (made.name(made.key) if made.key else None) == wanted.key
    assert (made.name(made.group) if made.group else None) == wanted.group
    assert made.key not in made.features
    assert made.group not in made.features


def test_where_nothing_can_be_meant_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("a,b,spent\n" + rows("{x},{k},{x}"), "utf-8")
    with pytest.raises(UsageError) as raised:
        declare_file(file, Wishes(), ask=nobody)
    assert "--target COLUMN" in str(raised.value.fix)
    assert "spent" in str(raised.value.fix)
