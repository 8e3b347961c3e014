"""Several files: keys and what points where are found from names, and checked by values."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from vigie.data.expressions import expression_faults
from vigie.dataset.declaration import parse_dataset
from vigie.dataset.sample_shop import generate_shop
from vigie.dataset.spec import EventFeatures
from vigie.errors import UsageError
from vigie.infer.declare import Wishes, declare_files

LOANS = "id,account,granted,amount,status\n" + "".join(
    f"{n},{100 + n % 40},2023-0{1 + n % 6}-15,{1000 + 7 * n},{'bad' if n % 5 == 0 else 'good'}\n"
    for n in range(1, 61)
)
ACCOUNTS = "id,opened,town\n" + "".join(
    f"{100 + n},2020-01-{1 + n % 28:02},T{n % 3}\n" for n in range(40)
)
MOVES = "move_id;account_id;booked;value\n" + "".join(
    f"{n};{100 + n % 40};2023-01-{1 + n % 28:02} 10:00:00;{n / 4:.2f}\n".replace(".", ",")
    for n in range(400)
)
NOTES = "account_id,kind\n100,a\n101,b\n999,c\n998,c\n997,c\n"


def declared(folder: Path, files: dict[str, str], **wishes: Any) -> tuple[dict[str, Any], Any, str]:
    paths = []
    for name, text in files.items():
        paths.append(folder / name)
        paths[-1].write_text(text, "utf-8")
    cutoff = wishes.pop("cutoff", None)
    made, tables, text = declare_files(
        paths, Wishes(**wishes), ask=lambda _question, _answers: None, cutoff=cutoff
    )
    dataset = parse_dataset(text, "dataset.toml")
    assert expression_faults(dataset) == []
    return tomllib.loads(text), (made, tables, dataset), text


BANK = {"accounts.csv": ACCOUNTS, "loans.csv": LOANS, "moves.csv": MOVES}


def test_keys_clocks_and_the_cut_off(tmp_path: Path) -> None:
    content, (_made, tables, dataset), _text = declared(tmp_path, BANK, positive=("bad",))
    assert tables[0].table == "loans"
    loans, accounts, moves = (content["tables"][one] for one in ("loans", "accounts", "moves"))
    assert loans["primary_key"] == ["loan_id"]
    # Called "id" and "account" in the files; what means the same is called the same.
    assert loans["columns"]["loan_id"]["source"] == "id"
    assert loans["columns"]["account_id"]["source"] == "account"
    assert accounts["primary_key"] == ["account_id"]
    assert loans["foreign_keys"] == [{"columns": ["account_id"], "references": "accounts"}]
    assert moves["foreign_keys"] == [{"columns": ["account_id"], "references": "accounts"}]
    assert moves["primary_key"] == ["move_id"]
    assert moves["clock"] == "booked"
    assert moves["csv"] == {"delimiter": ";", "decimal": ","}
    assert content["cohort"]["cutoff"] == '"granted"'
    assert content["cohort"]["lookups"][0]["table"] == "accounts"
    events = {group.name: group for group in dataset.features if isinstance(group, EventFeatures)}
    assert events["moves"].on == ("account_id",)
    # The account's own columns are known of the loan already.
    assert events["moves"].lookups == ()
    assert "accounts" not in events


def test_what_does_not_point_there_is_no_foreign_key(tmp_path: Path) -> None:
    content, (_made, tables, _dataset), _text = declared(
        tmp_path, {**BANK, "notes.csv": NOTES}, target="status", positive=("bad",)
    )
    assert "foreign_keys" not in content["tables"]["notes"]
    notes = next(one for one in tables if one.table == "notes")
    assert any("3 of 5 values are not in accounts" in note for note in notes.notes)


def test_rows_to_score_are_not_lost_for_want_of_a_lookup(tmp_path: Path) -> None:
    accounts = "\n".join(ACCOUNTS.splitlines()[:-1]) + "\n"
    content, (_made, tables, _dataset), _text = declared(
        tmp_path, {**BANK, "accounts.csv": accounts}, positive=("bad",)
    )
    assert "foreign_keys" not in content["tables"]["loans"]
    assert tables[0].guesses[0].table == "accounts"
    assert content["cohort"]["lookups"][0]["table"] == "accounts"
    # A move that belongs to nobody says nothing of anybody.
    lost = next(one for one in tables if one.table == "moves").references[0].lost
    assert lost == 10


def test_the_users_cut_off_goes_first(tmp_path: Path) -> None:
    content, _more, _text = declared(tmp_path, BANK, positive=("bad",), cutoff="2023-03-31")
    assert content["cohort"]["cutoff"] == "DATE '2023-03-31'"
    with pytest.raises(UsageError, match="no column of the table with the outcome"):
        declared(tmp_path, BANK, positive=("bad",), cutoff="soon")


def test_without_a_date_the_cut_off_is_half_way(tmp_path: Path) -> None:
    loans = LOANS.replace("granted,", "number,").replace("2023-0", "")
    loans = "\n".join(line.replace("-15,", "15,") for line in loans.splitlines()) + "\n"
    content, (_made, tables, _dataset), _text = declared(
        tmp_path, {**BANK, "loans.csv": loans}, target="loans.status", positive=("bad",)
    )
    assert content["cohort"]["cutoff"] == "DATE '2023-01-14'"
    assert any("half of moves had happened" in note for note in tables[0].notes)


def test_a_days_number_and_a_date_are_not_mixed(tmp_path: Path) -> None:
    years = "year_id,account_id,year,note\n" + "".join(
        f"{n},{100 + n % 40},{2020 + n % 3},x{n % 4}\n" for n in range(80)
    )
    content, (_made, _tables, dataset), _text = declared(
        tmp_path, {**BANK, "years.csv": years}, positive=("bad",)
    )
    assert "clock" not in content["tables"]["years"]
    assert "known_at_start" not in content["tables"]["years"]
    assert "years" not in {group.name for group in dataset.features}


def test_columns_left_out_reach_no_feature(tmp_path: Path) -> None:
    content, (_made, _tables, dataset), text = declared(
        tmp_path, BANK, positive=("bad",), leave_out=("amount",)
    )
    assert content["tables"]["loans"]["columns"]["amount"]["feature"] is False
    assert "# amount left out, as you said" in text
    assert "amount" not in {group.name for group in dataset.features}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Two files would make the table loans"):
        declared(tmp_path, {"loans.csv": LOANS, "Loans.tsv": LOANS.replace(",", "\t")})


def test_the_shop_is_found_as_it_is(tmp_path: Path) -> None:
    generate_shop(tmp_path, customers=200)
    files = [tmp_path / f"{name}.csv" for name in ("customers", "orders", "returns")]
    _made, _tables, text = declare_files(
        files, Wishes(target="channel"), ask=lambda _question, _answers: None
    )
    content = tomllib.loads(text)["tables"]
    assert content["customers"]["primary_key"] == ["customer_id"]
    assert content["orders"]["foreign_keys"] == [
        {"columns": ["customer_id"], "references": "customers"}
    ]
    assert content["returns"]["foreign_keys"] == [{"columns": ["order_id"], "references": "orders"}]
    assert content["orders"]["clock"] == "ordered_at"
    assert content["returns"]["clock"] == "returned_on"
