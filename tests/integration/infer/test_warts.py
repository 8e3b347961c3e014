"""CSV files as they lie about: each with a wart, each declared and read to its last row."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vigie.data.extract import extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.dataset.declaration import parse_dataset
from vigie.dataset.spec import Dataset
from vigie.errors import DataError, UsageError
from vigie.infer.declare import Decisions, Wishes, declare_file

ROWS = 120


def nobody(_question: str, _answers: Sequence[str]) -> str | None:
    return None


@dataclass
class Wart:
    """A file and what is to be found in it.

    ``types`` is by declared name; ``first`` are values of the first row as they are to be read.
    """

    content: bytes
    types: dict[str, str]
    first: dict[str, object] = field(default_factory=dict)
    positive: tuple[object, ...] = ("yes",)
    rows: int = ROWS
    set_aside: int = 0
    name: str = "odd.csv"
    wishes: Wishes = field(default_factory=Wishes)


def lines(header: str | None, row: str, end: str = "\n") -> str:
    """Return a file; in `row`, {n} counts, {x} has decimals, {y} is yes or no, {d} is a day."""
    texts = [] if header is None else [header]
    words = ("red", "green", "blue", "grey")
    texts += [
        row.format(
            n=n,
            x=f"{n * 1.25:.2f}",
            c=f"{n * 1.25:.2f}".replace(".", ","),
            y="yes" if n % 3 == 0 else "no",
            d=f"{n % 28 + 1:02d}",
            word=words[n % 4],
            g=n % 7,
        )
        for n in range(1, ROWS + 1)
    ]
    return end.join(texts) + end


PLAIN = {"a": "integer", "b": "number", "word": "text", "churn": "text"}
WARTS = {
    "plain": Wart(lines("a,b,word,churn", "{n},{x},{word},{y}").encode(), PLAIN),
    "semicolons and decimal commas": Wart(
        lines("a;b;word;churn", "{n};{c};{word};{y}").encode(), PLAIN, {"b": 1.25}
    ),
    "tabs": Wart(lines("a\tb\tword\tchurn", "{n}\t{x}\t{word}\t{y}").encode(), PLAIN),
    "bars": Wart(lines("a|b|word|churn", "{n}|{x}|{word}|{y}").encode(), PLAIN),
    "blanks between": Wart(lines("a b word churn", "{n} {x} {word} {y}").encode(), PLAIN),
    "CR alone": Wart(lines("a,b,word,churn", "{n},{x},{word},{y}", "\r").encode(), PLAIN),
    "CRLF and a BOM": Wart(
        b"\xef\xbb\xbf" + lines("a,b,word,churn", "{n},{x},{word},{y}", "\r\n").encode(), PLAIN
    ),
    "UTF-16": Wart(lines("a,b,word,churn", "{n},{x},{word},{y}").encode("utf-16"), PLAIN),
    "cp1252": Wart(
        lines("a,b,word,churn", "{n},{x},{word}é,{y}").encode("cp1252"), PLAIN, {"word": "greené"}
    ),
    "gzip": Wart(
        gzip.compress(lines("a,b,word,churn", "{n},{x},{word},{y}").encode(), mtime=0),
        PLAIN,
        name="odd.csv.gz",
    ),
    "no header": Wart(
        lines(None, "{n},{x},{word},{y}").encode(),
        {"c0": "integer", "c1": "number", "c2": "text", "c3": "text"},
        {"c0": 1},
    ),
    "a blank after each comma": Wart(
        lines("a, b, word, churn", "{n}, {x}, {word}, {y}").encode(), PLAIN, {"a": 1}
    ),
    "single quotation marks": Wart(
        lines("'a','b','word','churn'", "'{n}','{x}','{word}, {word}','{y}'").encode(),
        PLAIN,
        {"word": "green, green"},
    ),
    "line ends inside of quotes": Wart(
        lines("a,b,word,churn", '{n},{x},"{word}\n{word}",{y}').encode(),
        PLAIN,
        {"word": "green\ngreen"},
    ),
    "markers of all kinds": Wart(
        lines("a,b,word,churn", "{n},{x},{word},{y}")
        .replace("\n7,", "\nNA,")
        .replace("\n8,", "\n?,")
        .replace("\n9,", "\n\\N,")
        .replace("\n10,", "\nNULL,")
        .replace("\n11,", "\n  ,")
        .replace("\n12,", "\n-,")
        .encode(),
        PLAIN,
    ),
    "the same name twice, and none": Wart(
        lines("a,a,,churn", "{n},{x},{word},{y}").encode(),
        {"a": "integer", "a_2": "number", "column_3": "text", "churn": "text"},
        {"a": 1, "a_2": 1.25, "column_3": "green"},
    ),
    "names that vigie needs": Wart(
        lines("row_id,cutoff,Label,churn", "{n},{x},{word},{y}").encode(),
        {"row_id_1": "integer", "cutoff_2": "number", "Label_3": "text", "churn": "text"},
    ),
    "a name as vigie makes them": Wart(
        lines("vigie_a,b,Vigie_Order,churn", "{n},{x},{word},{y}").encode(),
        {"column_vigie_a": "integer", "b": "number", "column_Vigie_Order": "text", "churn": "text"},
    ),
    "names like SQL": Wart(
        lines('"select ""x""; --",b\'c,été,churn', "{n},{x},{word},{y}").encode(),
        {'select "x"; --': "integer", "b'c": "number", "été": "text", "churn": "text"},
    ),
    "thousands": Wart(
        lines("a,b,word,churn", '"{n},000","1,0{g}0.50",{word},{y}').encode(),
        PLAIN,
        {"a": 1000},
    ),
    "days first": Wart(
        lines("a,when,word,churn", "{n},{d}/03/2024,{word},{y}").encode(),
        {"a": "integer", "when": "date", "word": "text", "churn": "text"},
    ),
    "days with dots and times": Wart(
        lines("a,when,word,churn", "{n},{d}.03.2024 14:05,{word},{y}").encode(),
        {"a": "integer", "when": "timestamp", "word": "text", "churn": "text"},
    ),
    "numbers with zeros in front": Wart(
        lines("a,code,word,churn", "{n},00{g},{word},{y}").encode(),
        {"a": "integer", "code": "text", "word": "text", "churn": "text"},
        {"code": "001"},
    ),
    "0 and 1": Wart(
        lines("a,b,word,target", "{n},{x},{word},{y}")
        .replace("yes", "1")
        .replace(",no", ",0")
        .encode(),
        {"a": "integer", "b": "number", "word": "text", "target": "integer"},
        positive=(1,),
    ),
    "true and false": Wart(
        lines("a,b,word,target", "{n},{x},{word},{y}")
        .replace("yes", "True")
        .replace(",no", ",False")
        .encode(),
        {"a": "integer", "b": "number", "word": "text", "target": "text"},
        positive=("True",),
    ),
    "ragged lines": Wart(
        lines("a,b,word,churn", "{n},{x},{word},{y}")
        .replace("\n50,", "\n50,extra,")
        .replace("\n60,75.00,", "\n60,")
        .encode(),
        PLAIN,
        rows=ROWS - 2,
        set_aside=2,
    ),
    "sep= before the header": Wart(
        ("sep=;\n" + lines("a;b;word;churn", "{n};{x};{word};{y}")).encode(), PLAIN, {"a": 1}
    ),
    "a title, a date and a blank line above": Wart(
        ("Report\r\non 1 May\r\n\r\n" + lines("a,b,word,churn", "{n},{x},{word},{y}")).encode(),
        PLAIN,
        {"a": 1, "word": "green"},
    ),
    "a title above, in UTF-16": Wart(
        ("Report\n" + lines("a,b,word,churn", "{n},{x},{word},{y}")).encode("utf-16"), PLAIN
    ),
    "a count above, no header": Wart(
        ("120,2\n" + lines(None, "{n},{x},{word},{y}")).encode(),
        {"c0": "integer", "c1": "number", "c2": "text", "c3": "text"},
        {"c0": 1},
    ),
    "row names without a name, as R writes them": Wart(
        lines("b word churn", '"r{n}" {x} {word} {y}').encode(),
        {"column_1": "text", "b": "number", "word": "text", "churn": "text"},
        {"column_1": "r1", "b": 1.25, "word": "green"},
    ),
    "currency, percent and units": Wart(
        lines("price,rate,term,churn", '"$1,0{g}0.50",{x}%, {g} months,{y}').encode(),
        {"price": "number", "rate": "number", "term": "integer", "churn": "text"},
        {"price": 1010.5, "rate": 1.25, "term": 1},
    ),
    "months": Wart(
        lines("a,when,churn", "{n},Mar-2{g},{y}").encode(),
        {"a": "integer", "when": "date", "churn": "text"},
    ),
    "several outcomes": Wart(
        lines("a,b,word,churn", "{n},{x},{word},{y}").encode(),
        PLAIN,
        positive=("blue", "red"),
        wishes=Wishes(target="word", positive=("red", "blue")),
    ),
}  # fmt: skip


def extracted(folder: Path, wart: Wart) -> tuple[Decisions, Dataset, dict[str, list[object]], int]:
    file = folder / wart.name
    file.write_bytes(wart.content)
    made, text = declare_file(file, wart.wishes, ask=nobody)
    dataset = parse_dataset(text, "dataset.toml")
    (folder / "out").mkdir()
    tables = extract_tables(
        find_raw_files(folder, dataset),
        dataset,
        folder / "out",
        project=folder,
        max_rejected=0.05,
        threads=2,
        memory_limit="500MB",
    )
    table = pq.read_table(folder / "out" / "odd.parquet")
    return made, dataset, table.to_pydict(), tables["odd"].rejected


@pytest.mark.parametrize("name", WARTS)
def test_a_wart_is_found_and_no_row_is_lost(tmp_path: Path, name: str) -> None:
    wart = WARTS[name]
    made, dataset, columns, rejected = extracted(tmp_path, wart)
    declared = {name: column.type for name, column in dataset.tables["odd"].columns.items()}
    assert declared == wart.types
    label = dataset.cohort.label
    assert sorted(map(str, label.positive)) == sorted(map(str, wart.positive))
    assert rejected == wart.set_aside
    assert made.profile.set_aside == wart.set_aside
    assert {len(values) for values in columns.values()} == {wart.rows}
    for column, value in wart.first.items():
        assert columns[column][0] == value
    if name == "markers of all kinds":
        assert columns["a"][5:13] == [6, None, None, None, None, None, None, 13]
    if name == "days first":
        assert str(columns["when"][0]) == "2024-03-02"


def test_what_identifies_a_row_is_no_feature(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(
        lines("person_id,name,always,b,churn", "P{n},name {n},same,{x},{y}"), encoding="utf-8"
    )
    made, text = declare_file(file, Wishes(), ask=nobody)
    assert made.key is not None
    assert made.key.name == "person_id"
    assert {one.name for one in made.features} == {"b"}
    assert set(made.not_features) == {"name", "always"}
    assert parse_dataset(text, "x").cohort.key == ("person_id",)


def test_row_numbers_are_the_key_and_repeated_identifiers_a_group(tmp_path: Path) -> None:
    file = tmp_path / "visits.csv"
    text = lines(",PatientId,b,churn", '"{n}",P{n},{x},{y}')
    file.write_text(text.replace(",P7,", ",P8,").replace(",P11,", ",P12,"), encoding="utf-8")
    made, declared = declare_file(file, Wishes(), ask=nobody)
    cohort = parse_dataset(declared, "x").cohort
    assert cohort.key == ("column_1",)
    assert cohort.group == "PatientId"
    assert {one.name for one in made.features} == {"b"}


def test_a_column_that_knows_the_answer_is_named(tmp_path: Path) -> None:
    file = tmp_path / "leak.csv"
    text = lines("a,b,word,leak,churn", "{n},{x},{word},{y},{y}")
    file.write_text(text.replace(",yes,yes", ",gone,yes").replace(",no,no", ",here,no"), "utf-8")
    made, declared = declare_file(file, Wishes(target="churn", positive=("yes",)), ask=nobody)
    assert set(made.suspects) == {"leak"}
    assert "Suspected leak" in declared
    made, declared = declare_file(
        file, Wishes(target="churn", positive=("yes",), leave_out=("leak",)), ask=nobody
    )
    assert not made.suspects
    assert 'column = "leak"' not in declared


def test_a_person_is_asked_and_the_answer_counts(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_bytes(WARTS["plain"].content)
    asked: list[str] = []

    def answer(question: str, answers: Sequence[str]) -> str | None:
        asked.append(question)
        return "word" if "word" in answers else "green"

    made, _text = declare_file(file, Wishes(), ask=answer)
    assert len(asked) == 2
    assert made.outcome is not None
    assert (made.outcome.column.name, made.outcome.values) == ("word", ("green",))


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(target="chrun"), "Did you mean churn?"),
        (Wishes(target="churn", positive=("ja",)), "yes, no"),
        (Wishes(target="a"), ">= 7"),
        (Wishes(id="word"), "leave --id out"),
        (Wishes(target="word", positive=(">= 3",)), "red"),
        (Wishes(leave_out=("wrod",)), "Did you mean word?"),
    ],
)
def test_wrong_wishes_name_what_there_is(tmp_path: Path, wishes: Wishes, said: str) -> None:
    file = tmp_path / "odd.csv"
    file.write_bytes(WARTS["plain"].content)
    with pytest.raises(UsageError) as caught:
        declare_file(file, wishes, ask=nobody)
    assert said in str(caught.value).replace("no, yes", "yes, no")


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x00\x01\x02", gzip.compress(b"a,b\n", mtime=0)[:9]]
)
def test_what_is_no_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ("odd.csv.gz" if content[:1] == b"\x1f" else "odd.csv")
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        declare_file(file, Wishes(), ask=nobody)
    assert caught.value.fix


def test_a_comparison_may_be_the_outcome(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_bytes(WARTS["plain"].content)
    _made, text = declare_file(file, Wishes(target="a", positive=(">= 100",)), ask=nobody)
    assert parse_dataset(text, "x").cohort.label.positive_sql == '"a" >= 100'
