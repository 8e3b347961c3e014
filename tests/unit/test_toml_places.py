"""Places of keys in TOML: those that a person would look for in an editor."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vigie.dataset.declaration import declared_names, read_declaration
from vigie.toml_places import Place, line_of, toml_places


def test_places_of_keys() -> None:
    text = '''# """ in a comment
dataset = """
seed = 1
"""
seed = 2
modes.dev . sample_size = 3
[ modes . prod ]
"n_splits_cv" = 4
model_params = { n_estimators = 5 }
'''
    assert toml_places(text) == {
        ("dataset",): 2,
        ("seed",): 5,
        ("modes", "dev", "sample_size"): 6,
        ("modes", "prod"): 7,
        ("modes", "prod", "n_splits_cv"): 8,
        ("modes", "prod", "model_params"): 9,
        ("modes", "prod", "model_params", "n_estimators"): 9,
    }


def test_places_of_elements() -> None:
    text = """[[features]] # the first
name = "a # no comment"
measures = [
    { name = 'x]', by = { column = "c" } },

    # between
    { name = "y", list = ["p", "q,\\"]"] },
]
[[features]]
[[features.measures]]
name = "z"
"""
    places = toml_places(text)
    assert places[("features", 0)] == 1
    assert places[("features", 0, "measures", 0, "by", "column")] == 4
    assert places[("features", 0, "measures", 1)] == 7
    assert places[("features", 0, "measures", 1, "list", 1)] == 7
    assert places[("features", 1)] == 9
    assert places[("features", 1, "measures", 0, "name")] == 11


def test_line_of_takes_the_nearest() -> None:
    places = toml_places('[tables.a]\nfile = "a"\n[tables.a.columns]\nx = {}\n')
    assert line_of(places, ("tables", "a", "clock")) == 1
    assert line_of(places, ("tables", "a", "columns", "x", "type")) == 4
    assert line_of(places, ("tables",)) == 1
    assert line_of(places, ("nothing",)) is None


def _places_in(value: Any, place: Place = ()) -> set[Place]:
    if isinstance(value, dict):
        inner: list[tuple[str | int, Any]] = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return {place}
    return {place}.union(*(_places_in(one, (*place, key)) for key, one in inner))


def test_every_place_of_the_shipped_declarations_is_found(tmp_path: Any) -> None:
    for name in declared_names():
        text, _origin = read_declaration(name, tmp_path)
        found = toml_places(text)
        for place in _places_in(tomllib.loads(text)):
            # A table that has no header of its own stands where its first key does.
            assert place in found or any(one[: len(place)] == place for one in found), place


@given(st.text(max_size=200))
def test_any_text_comes_to_an_end(text: str) -> None:
    toml_places(text)
