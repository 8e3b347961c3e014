"""Everything that is wrong in a declaration, at once, each with its line and the way out."""

from __future__ import annotations

import re

import pytest

from vigie.dataset.declaration import parse_dataset
from vigie.errors import DeclarationError

GOOD = """\
name = "shop"
sensitive = ["sex"]
[tables.people]
file = "people"
primary_key = ["person"]
[tables.people.columns]
person = { type = "integer" }
sex = { type = "text" }
bad = { type = "integer" }
[tables.orders]
file = "orders"
primary_key = ["order"]
clock = "day"
foreign_keys = [{ columns = ["person"], references = "people" }]
[tables.orders.columns]
order = { type = "integer" }
person = { type = "integer" }
day = { type = "date" }
price = { type = "number", minimum = 0 }
[tables.notes]
file = "notes"
primary_key = ["note"]
columns = { note = { type = "integer" }, person = { type = "integer" } }
[cohort]
table = "people"
key = ["person"]
cutoff = "DATE '2024-01-31'"
[cohort.label]
column = "bad"
positive = [1]
[[features]]
kind = "events"
name = "orders"
label = { en = "orders", fr = "commandes" }
table = "orders"
on = ["person"]
measures = [
    { name = "p", label = { en = "p", fr = "p" }, column = "price", aggregates = ["sum"] },
]
"""
ATTRIBUTE = '[[features]]\nkind = "attribute"\nname = "a"\nlabel = { en = "a", fr = "a" }\n'
NOTES = (
    '[[features]]\nkind = "events"\nname = "n"\nlabel = { en = "n", fr = "n" }\ntable = "notes"\n'
    'on = ["person"]\nmeasures = [{ name = "rows", label = { en = "r", fr = "r" }, '
    'aggregates = ["count"] }]\n'
)


def test_the_example_holds() -> None:
    assert parse_dataset(GOOD, "d.toml").clock_of("orders") is not None


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('primary_key = ["person"]', 'primary_key = ["perso"]', 5, "did you mean 'person'"),
        ('clock = "day"', 'clock = "price"', 13, "must be a day, a date or a timestamp"),
        ('clock = "day"', 'clock = "dya"', 13, "did you mean 'day'"),
        ('references = "people"', 'references = "persons"', 14, "'persons' is not declared"),
        ('columns = ["person"], ref', 'columns = ["day"], to = ["person"], ref', 14, "same type"),
        ('columns = ["person"], ref', 'columns = ["price"], ref', 14, "must be the primary key"),
        ('day = { type = "date"', 'day = { type = "dat"', 18, "'dat'"),
        ("minimum = 0", 'minimum = "low"', 19, "write a number"),
        ("minimum = 0", "minimum = 3, maximum = 1", 19, "above the maximum"),
        ('key = ["person"]\ncut', 'key = ["prson"]\ncut', 26, "did you mean 'person'"),
        ('column = "bad"', 'column = "good"', 29, "'good' is not declared"),
        ("positive = [1]\n", "", 28, "one of: 'column'"),
        ('kind = "events"', 'kind = "event"', 32, "rank"),
        ('kind = "events"\n', "", 31, "rank"),
        ('table = "orders"', 'table = "order"', 35, "did you mean 'orders'"),
        ('on = ["person"]\nmea', 'on = ["peson"]\nmea', 36, "did you mean 'person'"),
        ('column = "price"', 'column = "prize"', 38, "did you mean 'price'"),
        ('aggregates = ["sum"]', 'aggregates = ["summ"]', 38, "'summ'"),
        ('aggregates = ["sum"]', 'aggregates = ["trend"]', 38, "there are none"),
        ('file = "notes"\n', "", 20, "tables.notes.file: is missing"),
        ('name = "shop"', 'name = "shop"\nfeature = 1', 2, "did you mean 'features'"),
        ('sensitive = ["sex"]', 'sensitive = ["sexx"]', 2, "did you mean 'sex'"),
        ('sensitive = ["sex"]', 'sensitive = { fed = ["sex"] }', 2, "'sex' is not declared"),
    ],
)
def test_a_fault_has_its_line_and_a_way_out(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(GOOD.replace(old, new, 1), "d.toml")
    error = caught.value
    assert error.where == f"d.toml line {line}"
    assert said in str(error)


@pytest.mark.parametrize("name", ["cutoff", "Cohort_ID", "vigie_age_days", "VIGIE_clock"])
def test_a_table_of_events_may_call_no_column_as_vigie_calls_its_own(name: str) -> None:
    spoilt = GOOD.replace("price = {", f'{name} = {{ type = "integer" }}\nprice = {{')
    with pytest.raises(DeclarationError, match=f"vigie needs the name '{name}'"):
        parse_dataset(spoilt, "d.toml")


@pytest.mark.parametrize("name", ["label", "Period", "group_key", "cohort_id"])
def test_an_expression_may_not_mean_vigies_own_column(name: str) -> None:
    spoilt = GOOD.replace("sex = {", f'{name} = {{ type = "integer" }}\nsex = {{')
    taken = f'{ATTRIBUTE}expression = "{name.lower()} * 10"\n'
    with pytest.raises(DeclarationError, match=f"{name}' would be vigie's own column"):
        parse_dataset(spoilt + taken, "d.toml")
    # By its name alone it is the people's, and without such a column the word is only a word.
    parse_dataset(f'{spoilt}{ATTRIBUTE}column = "{name}"\n', "d.toml")
    parse_dataset(f"{GOOD}{ATTRIBUTE}expression = \"person || '{name}'\"\n", "d.toml")


@pytest.mark.parametrize("expression", ["*", "max(*)", "COLUMNS('s.*')", "p.*", "f(person, *)"])
def test_all_columns_at_once_would_hold_the_outcome(expression: str) -> None:
    with pytest.raises(DeclarationError, match="name the columns"):
        parse_dataset(f'{GOOD}{ATTRIBUTE}expression = "{expression}"\n', "d.toml")
    parse_dataset(f'{GOOD}{ATTRIBUTE}expression = "2 * person*3 - (person) * 2"\n', "d.toml")


def test_measures_of_one_name_measure_one_thing() -> None:
    one = '{ name = "p", label = { en = "p", fr = "p" }, column = "price", aggregates = ["sum"] }'
    same = one.replace('["sum"]', '["mean"]')
    parse_dataset(GOOD.replace(one, f"{one},\n    {same}"), "d.toml")
    for other in (
        same.replace('column = "price"', 'expression = "price * 100"'),
        same.replace('column = "price"', 'column = "price", when = "price > 1"'),
    ):
        with pytest.raises(DeclarationError, match="another measure is called 'p'"):
            parse_dataset(GOOD.replace(one, f"{one},\n    {other}"), "d.toml")


def test_a_sensitive_column_is_fed_only_if_the_user_says_so() -> None:
    feature = ATTRIBUTE + "expression = \"CASE sex WHEN 'F' THEN 1 ELSE 0 END\"\n"
    with pytest.raises(DeclarationError, match="sensitive: the model doesn't see it"):
        parse_dataset(GOOD + feature, "d.toml")
    said = GOOD.replace('["sex"]', '{ columns = ["sex"], fed = ["sex"] }')
    assert parse_dataset(said + feature, "d.toml")


def test_a_table_without_a_clock_makes_features_only_if_known_from_the_start() -> None:
    with pytest.raises(DeclarationError, match="known_at_start = true"):
        parse_dataset(GOOD + NOTES, "d.toml")
    known = GOOD.replace('file = "notes"', 'file = "notes"\nknown_at_start = true')
    assert parse_dataset(known + NOTES, "d.toml")
    with pytest.raises(DeclarationError, match="last, windows ask when"):
        parse_dataset(
            known + NOTES.replace('["count"]', '["count", "last"], windows = [7]'), "d.toml"
        )


TWO_SHOPS = """\
[tables.shops]
file = "shops"
primary_key = ["shop"]
columns = { shop = { type = "integer" }, url = { type = "text" }, PRICE = { type = "number" } }
[tables.makers]
file = "makers"
primary_key = ["maker"]
columns = { maker = { type = "integer" }, URL = { type = "text" } }
"""


def test_two_tables_looked_up_may_not_call_a_column_alike() -> None:
    """The engine would take the one or the other, or stop in the middle of a run."""
    text = GOOD.replace(
        "price = {", 'shop = { type = "integer" }\nmaker = { type = "integer" }\nprice = {'
    )
    text = text.replace("[cohort]\n", TWO_SHOPS + "[cohort]\n", 1)
    shops = '{ table = "shops", on = ["shop"], columns = ["url"] }'
    makers = '{ table = "makers", on = ["maker"], columns = ["URL"] }'
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(f"{text}lookups = [{shops}, {makers}]\n", "d.toml")
    assert "'URL' is a column of shops and of makers" in str(caught.value)
    assert 'makers_URL = { ..., source = "URL" }' in str(caught.value)
    own = shops.replace('"url"', '"PRICE"')
    with pytest.raises(DeclarationError, match="'PRICE' is a column of orders and of shops"):
        parse_dataset(f"{text}lookups = [{own}]\n", "d.toml")
    mended = text.replace("URL =", "makers_URL =").replace(
        'makers_URL = { type = "text" }', 'makers_URL = { type = "text", source = "URL" }'
    )
    both = f"lookups = [{shops}, {makers.replace('URL', 'makers_URL')}]\n"
    assert parse_dataset(mended + both, "d.toml")


def test_all_at_once_in_the_order_of_the_lines() -> None:
    text = (
        GOOD.replace('clock = "day"', 'clock = "dya"')
        .replace('file = "notes"', 'fil = "notes"')
        .replace('kind = "events"', 'kind = "event"')
        .replace('column = "bad"', 'column = "worse"')
        .replace('day = { type = "date" }', 'day = { type = "dat" }')
    )
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(text, "d.toml")
    lines = [int(n) for n in re.findall(r"d\.toml line (\d+)", str(caught.value))]
    assert lines == sorted(lines)
    assert lines == [13, 18, 20, 21, 29, 32]
    assert f"{len(lines)} things in the declaration do not hold" in str(caught.value)


def test_a_declaration_that_is_no_toml_says_where() -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_dataset(GOOD.replace("[cohort]", "[cohort"), "d.toml")
    assert caught.value.where == "d.toml line 24, column 8"
