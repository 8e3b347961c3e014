from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.data.school import SCHOOL, school
from vigie.data.load_errors import as_database_error, is_driver_error, read_failure
from vigie.data.load_plan import (
    TablePlan,
    fit_name,
    plan_predictions,
    plan_tables,
    postgres_type,
)
from vigie.data.load_sql import (
    comment_sql,
    create_table_sql,
    foreign_key_sql,
    index_sql,
    literal,
    primary_key_sql,
    quote,
)
from vigie.dataset.spec import Dataset
from vigie.errors import DatabaseError, DatabaseUnreachable, DeclarationError

FILES = {
    "classes": {"class": "string", "seats": "int32"},
    "pupils": {"class": "string", "pupil": "int32", "born": "date32[day]", "result": "string"},
    "visits": {
        "class": "string",
        "pupil": "int32",
        "day": "int32",
        "minutes": "double",
        "at": "timestamp[us]",
        "paid": "bool",
        "row_id": "int64",
    },
}
COHORT = {
    "cohort_id": "int32",
    "class": "string",
    "pupil": "int32",
    "cutoff": "int32",
    "label": "int8",
    "group_key": "string",
    "period": "string",
    "result": "string",
}


def plans(dataset: Dataset | None = None) -> dict[str, TablePlan]:
    return {plan.name: plan for plan in plan_tables(dataset or school(), FILES, COHORT)}


# --- names -----------------------------------------------------------------------------------


def test_a_short_name_stays_as_it_is() -> None:
    assert fit_name("é" * 31) == "é" * 31


@pytest.mark.parametrize("name", ["x" * 64, "é" * 40, "a" + "é" * 40, "👀" * 30])
def test_a_long_name_is_cut_to_what_postgres_keeps(name: str) -> None:
    assert len(fit_name(name).encode()) <= 63
    assert fit_name(name) != fit_name(name + "!")


def test_names_and_values_are_quoted() -> None:
    assert quote("s", 'a"; DROP TABLE x; --') == '"s"."a""; DROP TABLE x; --"'
    assert literal("it's") == "'it''s'"
    assert literal("back\\slash").startswith("E'")
    assert literal(None) == "NULL"


# --- plans -----------------------------------------------------------------------------------


def test_tables_come_after_those_they_refer_to() -> None:
    assert list(plans()) == ["classes", "pupils", "visits", "cohort"]


def test_tables_that_refer_to_each_other_are_all_there() -> None:
    circle = SCHOOL.replace(
        'primary_key = ["class"]\n',
        'primary_key = ["class"]\n'
        'foreign_keys = [{ columns = ["class"], references = "classes" }]\n',
    )
    assert set(plans(school(circle))) == {"classes", "pupils", "visits", "cohort"}


def test_a_table_without_a_key_is_keyed_by_its_row_number() -> None:
    visits = plans()["visits"]
    assert visits.primary_key == ("row_id",)
    assert visits.columns[0].name == "row_id"
    assert visits.columns[0].required


@pytest.mark.parametrize(
    ("declared", "arrow", "expected"),
    [
        ("integer", "int32", "integer"),
        ("integer", "int64", "bigint"),
        ("day", "int16", "integer"),
        ("number", "int64", "double precision"),
        ("text", "large_string", "text"),
        ("boolean", "bool", "boolean"),
        ("date", "date32[day]", "date"),
        ("timestamp", "timestamp[us]", "timestamp without time zone"),
        ("timestamp", "timestamp[us, tz=UTC]", "timestamp with time zone"),
        (None, "int8", "smallint"),
        (None, "float", "double precision"),
        (None, "dictionary<values=string, indices=int32>", "text"),
    ],
)
def test_types(declared: str | None, arrow: str, expected: str) -> None:
    assert postgres_type(declared, arrow) == expected


def test_required_and_key_columns_are_not_null() -> None:
    columns = {column.name: column for column in plans()["pupils"].columns}
    assert (columns["class"].required, columns["born"].required) == (True, False)


def test_texts_in_keys_compare_by_their_bytes() -> None:
    columns = {column.name: column for column in plans()["cohort"].columns}
    assert [name for name, one in columns.items() if one.byte_order] == ["class", "period"]
    assert columns["class"].signature() == "class text not null C"


def test_the_cohort_refers_to_its_table() -> None:
    cohort = plans()["cohort"]
    assert [key.target for key in cohort.foreign_keys] == ["pupils"]
    assert [index.columns for index in cohort.indexes] == [("label",), ("period",)]


def test_a_cohort_with_another_key_than_its_table_refers_to_nothing() -> None:
    other = school(SCHOOL.replace('key = ["class", "pupil"]\ngroup', 'key = ["pupil"]\ngroup'))
    assert plans(other)["cohort"].foreign_keys == ()


@pytest.mark.parametrize("name", ["cohort", "predictions", "vigie_load", "vigie_new_x"])
def test_names_that_vigie_needs_are_refused(name: str) -> None:
    taken = school(SCHOOL.replace("[tables.visits]", f"[tables.{name}]"))
    with pytest.raises(DeclarationError, match=name):
        plan_tables(taken, {**FILES, name: FILES["visits"]}, COHORT)


def test_predictions_are_indexed_by_risk() -> None:
    arrow = {"pupil": "int32", "risk_score": "double", "risk_level": "string"}
    plan = plan_predictions(arrow, ("pupil",), {"risk_score": "Probability"})
    assert plan.primary_key == ("pupil",)
    assert [index.columns for index in plan.indexes] == [("risk_level",), ("risk_score",)]
    assert plan.columns[1].comment == "Probability"


def test_all_of_oulad_can_be_planned(oulad: Dataset) -> None:
    kinds = {"text": "string", "integer": "int32", "day": "int32", "number": "double"}
    files = {
        name: {column: kinds[one.type] for column, one in table.columns.items()}
        for name, table in oulad.tables.items()
    }
    files["student_vle"]["row_id"] = "int64"
    cohort = {"id_student": "int32", "code_module": "string", "code_presentation": "string"}
    made = {plan.name: plan for plan in plan_tables(oulad, files, cohort)}
    assert next(iter(made)) == "courses"
    assert len(made["student_vle"].foreign_keys) == 2
    objects = [name for plan in made.values() for name in plan.own_objects()]
    assert len(objects) == len(set(objects))


# --- SQL -------------------------------------------------------------------------------------


def test_statements() -> None:
    visits = plans()["visits"]
    assert create_table_sql("s", "new", plans()["classes"]) == (
        'CREATE TABLE "s"."new" ("class" text COLLATE "C" '
        'CONSTRAINT "classes_class_not_null" NOT NULL, "seats" integer)'
    )
    assert primary_key_sql("s", "new", visits, "k") == (
        'ALTER TABLE "s"."new" ADD CONSTRAINT "k" PRIMARY KEY ("row_id")'
    )
    assert foreign_key_sql("s", "new", visits.foreign_keys[0], "target") == (
        'ALTER TABLE "s"."new" ADD CONSTRAINT "visits_class_pupil_fkey" '
        'FOREIGN KEY ("class", "pupil") REFERENCES "s"."target" ("class", "pupil")'
    )
    assert index_sql("s", "new", visits.indexes[0], "i") == (
        'CREATE INDEX "i" ON "s"."new" ("pupil", "class")'
    )
    assert comment_sql("s", "new", plans()["classes"]) == [
        """COMMENT ON TABLE "s"."new" IS 'Classes; l''année est dans le nom.'""",
        """COMMENT ON COLUMN "s"."new"."class" IS 'Name of the class'""",
        """COMMENT ON COLUMN "s"."new"."seats" IS 'Seats (chairs)'""",
    ]


# --- errors ----------------------------------------------------------------------------------


class PsycopgLike(Exception):
    """An error as psycopg raises it; `fields` are those of its ``diag``."""

    def __init__(self, text: str, state: str | None = None, **fields: str) -> None:
        super().__init__(text)
        self.sqlstate = state
        names = ("message_primary", "message_detail", "table_name", "constraint_name")
        self.diag = SimpleNamespace(**{name: fields.get(name) for name in names})


def told(error: Exception, **more: Any) -> DatabaseError:
    return as_database_error(
        read_failure(error), schema="vigie_dev", address="here", doing="loading", **more
    )


@pytest.mark.parametrize(
    ("text", "transient"),
    [
        ("consuming input failed: server closed the connection unexpectedly", True),
        ("the connection is lost", True),
        ("connection to server at 1 failed: Connection refused", True),
        ("connection failed: FATAL:  the database system is starting up", True),
        ('connection failed: FATAL:  role "x" does not exist', False),
        ('FATAL:  password authentication failed for user "x"', False),
    ],
)
def test_what_is_worth_another_try(text: str, transient: bool) -> None:
    assert read_failure(PsycopgLike(text)).transient is transient


@pytest.mark.parametrize(("state", "transient"), [("40P01", True), ("23505", False)])
def test_states_that_are_worth_another_try(state: str, transient: bool) -> None:
    assert read_failure(PsycopgLike("ERROR: x", state)).transient is transient


def test_a_full_disk_is_named() -> None:
    error = PsycopgLike(
        'could not extend file "base/5/16400": No space left on device\nHINT:  Check free disk',
        "53100",
        message_primary='could not extend file "base/5/16400": No space left on device',
    )
    assert read_failure(error).transient is False
    assert "disk is full" in told(error).what


def test_a_lost_connection_is_unreachable() -> None:
    assert isinstance(told(PsycopgLike("the connection is closed")), DatabaseUnreachable)


def test_fields_of_the_driver_make_the_sentence() -> None:
    error = PsycopgLike(
        "long text",
        "23503",
        message_primary="violates",
        message_detail='Key (id)=(5) is not present in table "p".',
        table_name="f",
        constraint_name="f_id_fkey",
    )
    assert "Table f breaks its foreign key f_id_fkey: Key (id)=(5)" in told(error).what


def test_who_holds_a_lock_is_in_the_fix() -> None:
    fix = told(PsycopgLike("ERROR: canceling", "55P03"), holders="process 5").fix
    assert fix is not None
    assert "process 5" in fix


def test_a_password_in_a_drivers_text_is_masked() -> None:
    error = PsycopgLike("ERROR:  bad conninfo postgresql://me:canary@h/db password=canary", "XX000")
    assert "canary" not in str(told(error))


def test_only_drivers_errors_are_drivers_errors() -> None:
    import psycopg

    assert is_driver_error(psycopg.OperationalError("x"))
    assert not is_driver_error(ValueError("x"))
