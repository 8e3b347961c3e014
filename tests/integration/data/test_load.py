"""What a load makes in real servers, and what it leaves of other people's."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from tests.integration.data.place import Place
from tests.integration.data.school import SCHOOL, School, school
from vigie.data.load import load_predictions
from vigie.errors import DatabaseError


def test_loads_every_row_with_its_types(place: Place) -> None:
    told: list[tuple[str, float]] = []
    report = place.load(progress=lambda doing, share: told.append((doing, share)))
    assert report.rows == {"classes": 1, "pupils": 4, "visits": 10, "cohort": 4}
    assert (report.strategy, report.attempts) == ("swap", 1)
    assert told[-1][1] == 1.0
    assert [share for _doing, share in told] == sorted(share for _doing, share in told)
    types = place.ask(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
        "WHERE attrelid = 'visits'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert types == [
        ("row_id", "bigint", True),
        ("class", "text", True),
        ("pupil", "integer", True),
        ("day", "integer", True),
        ("minutes", "double precision", False),
        ("at", "timestamp without time zone", False),
        ("paid", "boolean", False),
    ]
    assert place.ask("SELECT sum(minutes), min(at)::text, bool_and(paid) FROM visits") == [
        (22.5, "2024-01-01 08:30:00", True)
    ]
    assert place.ask("SELECT label FROM cohort ORDER BY cohort_id") == [0, 1, 0, 1]


def test_makes_keys_indexes_and_comments(place: Place) -> None:
    place.load()
    keys = place.ask(
        "SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        f"WHERE connamespace = '{place.schema}'::regnamespace AND contype IN ('p', 'f') ORDER BY 1"
    )
    assert [(name, valid) for name, _definition, valid in keys] == [
        ("classes_pkey", True),
        ("cohort_class_pupil_fkey", True),
        ("cohort_pkey", True),
        ("pupils_class_fkey", True),
        ("pupils_pkey", True),
        ("vigie_load_pkey", True),
        ("visits_class_pupil_fkey", True),
        ("visits_pkey", True),
    ]
    indexes = place.ask(f"SELECT indexname FROM pg_indexes WHERE schemaname = '{place.schema}'")
    assert {"visits_pupil_class_idx", "cohort_label_idx", "cohort_period_idx"} <= set(indexes)
    assert not [name for name in indexes if name.startswith("vigie_new")]
    assert place.ask("SELECT obj_description('classes'::regclass)") == [
        "Classes; l'année est dans le nom."
    ]
    assert place.ask("SELECT col_description('classes'::regclass, 2)") == ["Seats (chairs)"]


def test_rows_are_written_once(place: Place) -> None:
    """As frozen: no reader writes their pages again to note that the load was committed."""
    for strategy in ("swap", "refill"):
        if strategy == "refill":
            place.ask("CREATE VIEW everybody AS SELECT p.*, v.day FROM pupils p, visits v")
        assert place.load().strategy == strategy
        assert place.ask(
            "SELECT relname, relpages, relallvisible FROM pg_class "
            "WHERE relname IN ('pupils', 'visits') AND relnamespace = "
            f"'{place.schema}'::regnamespace ORDER BY 1"
        ) == [("pupils", 1, 1), ("visits", 1, 1)]


def test_a_reload_with_the_same_rows_has_the_same_state(place: Place) -> None:
    assert place.state() is None
    place.load()
    first = place.state()
    place.load()
    assert first is not None
    assert place.state() == first
    place.fingerprint = "second"
    place.load(School(visits=12))
    assert place.state() != first
    assert place.ask("SELECT count(*) FROM visits") == [12]


def attach(place: Place, role: str) -> None:
    """Make on the tables what people make: views, grants, an index, a function, a key."""
    with place.connect() as connection:
        for statement in f"""
            GRANT USAGE, CREATE ON SCHEMA {place.schema} TO {role};
            GRANT SELECT ON pupils TO {role};
            GRANT SELECT (day) ON visits TO {role};
            SET ROLE {role};
            CREATE VIEW bad AS SELECT * FROM pupils WHERE result = 'bad';
            CREATE VIEW worse AS SELECT pupil FROM bad;
            RESET ROLE;
            CREATE VIEW by_key AS SELECT p.*, count(*) AS n FROM pupils p GROUP BY class, pupil;
            CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM visits;
            GRANT SELECT ON total TO {role};
            COMMENT ON VIEW bad IS 'mine';
            CREATE INDEX visits_by_day ON visits (day);
            CREATE FUNCTION pupil_name(pupils) RETURNS text LANGUAGE sql AS 'SELECT $1.class';
            CREATE TABLE notes (class text, pupil integer, note text,
            CONSTRAINT about FOREIGN KEY (class, pupil) REFERENCES pupils ON DELETE CASCADE);
            INSERT INTO notes VALUES ('1a', 3, 'quiet')
            """.split(";"):
            connection.execute(statement)


def test_what_people_attached_survives(place: Place, role: str) -> None:
    place.load()
    attach(place, role)
    for pupils in (6, 8):
        report = place.load(School(pupils=pupils, visits=20))
        assert report.strategy == "refill"
        assert place.ask("SELECT count(*) FROM worse") == [pupils // 2]
    assert place.ask("SELECT count(*) FROM by_key") == [8]
    place.ask("REFRESH MATERIALIZED VIEW total")
    with place.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        assert connection.execute("SELECT n FROM total").fetchone() == (20,)
        assert connection.execute("SELECT max(day) FROM visits").fetchone() == (19,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT minutes FROM visits")
    assert place.ask("SELECT obj_description('bad'::regclass)") == ["mine"]
    assert place.ask("SELECT viewowner FROM pg_views WHERE viewname = 'bad'")[0] == role
    assert place.ask("SELECT note FROM notes") == ["quiet"]
    assert place.ask("SELECT convalidated FROM pg_constraint WHERE conname = 'about'") == [True]
    indexes = place.ask(f"SELECT indexname FROM pg_indexes WHERE schemaname = '{place.schema}'")
    assert {"visits_by_day", "visits_pupil_class_idx", "visits_pkey", "pupils_pkey"} <= set(indexes)


def test_a_key_of_other_people_that_would_break_stops_the_load(place: Place) -> None:
    place.load()
    place.ask(
        "CREATE TABLE notes (class text, pupil integer, "
        "CONSTRAINT about FOREIGN KEY (class, pupil) REFERENCES pupils)"
    )
    place.ask("INSERT INTO notes VALUES ('1a', 3)")
    before = place.state()
    with pytest.raises(DatabaseError, match=r"notes.*about.*\(1a, 3\)"):
        place.load(School(pupils=2))
    assert place.state() == before


def test_a_changed_declaration_alters_the_columns_under_views(place: Place) -> None:
    place.load()
    place.ask("CREATE VIEW bad AS SELECT pupil, result FROM pupils")
    wider = school(SCHOOL.replace("[cohort]", 'columns.height = { type = "number" }\n[cohort]'))
    place.load(School(changes={"pupils": {"height": [1.5, 1.6, 1.7, None]}}), wider)
    assert place.ask("SELECT height FROM pupils ORDER BY pupil") == [1.5, 1.6, 1.7, None]
    place.load()
    assert "height" not in place.ask(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'pupils'::regclass"
    )
    before = place.state()
    other = school(
        SCHOOL.replace('columns.result = { type = "text"', 'columns.result = { type = "number"')
    )
    numbers = {"pupils": {"result": [1.0, 2.0, 3.0, 4.0]}}
    with pytest.raises(DatabaseError, match=r"view \S*bad"):
        place.load(School(changes=numbers), other)
    assert place.state() == before
    place.ask("DROP VIEW bad")
    assert place.load(School(changes=numbers), other).strategy == "swap"


def test_tables_of_a_former_declaration_go_and_other_peoples_stay(place: Place) -> None:
    place.load()
    place.ask("CREATE TABLE mine AS SELECT 1 AS one")
    text = SCHOOL[: SCHOOL.index("[tables.visits]")] + SCHOOL[SCHOOL.index("[tables.pupils]") :]
    place.load(dataset=school(text))
    tables = place.ask(f"SELECT tablename FROM pg_tables WHERE schemaname = '{place.schema}'")
    assert set(tables) == {"classes", "pupils", "cohort", "mine", "vigie_load"}


def test_a_name_that_somebody_else_uses_stops_the_load(place: Place) -> None:
    place.ask(f"CREATE SCHEMA {place.schema}")
    place.ask("CREATE VIEW pupils AS SELECT 1 AS one")
    with pytest.raises(DatabaseError, match="'pupils' that vigie did not make"):
        place.load()
    assert place.ask("SELECT one FROM pupils") == [1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"visits": {"pupil": [7] * 10}}, r"visits.*foreign key.*\(1a, 7\)"),
        ({"pupils": {"pupil": [1, 1, 2, 3]}}, r"same key twice.*\(1a, 1\)"),
        ({"pupils": {"class": ["1a", None, "1a", "1a"]}}, r"pupils misses a required value"),
        ({"pupils": {"result": ["a\0b", "", "", ""]}}, r"cannot be stored.*UTF8"),
    ],
    ids=["foreign key", "duplicate", "missing", "nul"],
)
def test_rows_that_break_the_declaration_are_named(
    place: Place, changes: dict[str, Any], words: str
) -> None:
    import pyarrow as pa

    for columns in changes.values():
        if "pupil" in columns:
            columns["pupil"] = pa.array(columns["pupil"], pa.int32())
    with pytest.raises(DatabaseError, match=words) as caught:
        place.load(School(changes=changes))
    assert caught.value.fix
    assert place.state() is None


def test_hostile_names_work(place: Place) -> None:
    place.schema = 'é"; DROP SCHEMA x; --' + place.schema[:8]
    table, column = "ta\"ble'; é", 'col"umn; --é'
    long = "ü" * 40
    text = (
        SCHOOL.replace("[tables.classes]", f"[tables.{toml(table)}]")
        .replace('references = "classes"', f"references = {toml(table)}")
        .replace("columns.seats", f"columns.{toml(column)}")
        .replace("columns.born", f"columns.{toml(long + 'a')}")
        .replace("columns.result", f"columns.{toml(long + 'b')}")
        .replace('[["result"]]', f"[[{toml(long + 'a')}], [{toml(long + 'b')}]]")
    )
    rows = School().tables()
    renamed = replace_keys(rows["pupils"], {"born": long + "a", "result": long + "b"})

    class Renamed(School):
        def tables(self) -> dict[str, dict[str, Any]]:
            classes = replace_keys(rows["classes"], {"seats": column})
            return {table: classes, "pupils": renamed, **{n: rows[n] for n in ("visits", "cohort")}}

    for _time in range(2):
        report = place.load(Renamed(), school(text))
    assert report.rows[table] == 1
    assert place.state() is not None
    with psycopg.connect("".join(place.address.url())) as connection:
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.Identifier(column), sql.Identifier(place.schema, table)
        )
        assert connection.execute(query).fetchall() == [(30,)]
        view = sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(
            sql.Identifier(place.schema, "v;'"), sql.Identifier(place.schema, table)
        )
        connection.execute(view)
    assert place.load(Renamed(), school(text)).strategy == "refill"


def toml(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def replace_keys(columns: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): values for name, values in columns.items()}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pupils SET result = 'good'",
        "DELETE FROM visits WHERE row_id = 1",
        "INSERT INTO classes VALUES ('2b', 3)",
        "TRUNCATE visits",
        "ALTER TABLE visits ADD COLUMN mine text",
        "DROP INDEX visits_pupil_class_idx",
        "ALTER TABLE visits DISABLE TRIGGER ALL",
        "DROP TABLE cohort; CREATE TABLE cohort AS SELECT * FROM pupils",
    ],
)
def test_the_state_notices_a_change_by_hand(place: Place, change: str, role: str) -> None:
    place.load()
    before = place.state()
    if change.startswith("UPDATE"):
        # Whoever may change the rows marks the record without any right on the record.
        place.ask(f"GRANT USAGE ON SCHEMA {place.schema} TO {role}")
        place.ask(f"GRANT UPDATE, SELECT ON pupils TO {role}")
        change = f"SET ROLE {role}; {change}"
    place.ask(change)
    assert place.state() not in {before, None}
    place.load()
    assert place.state() == before


@pytest.mark.parametrize("lost", ["DROP TABLE cohort", "DELETE FROM vigie_load"])
def test_a_lost_table_or_record_is_no_state(place: Place, lost: str) -> None:
    place.load()
    place.ask(lost)
    assert place.state() is None


def test_predictions_have_a_table_of_their_own(place: Place) -> None:
    import pyarrow as pa

    place.load()
    tables = place.state()
    table = pa.table(
        {
            "class": ["1a", "1a"],
            "pupil": pa.array([0, 1], pa.int32()),
            "risk_score": [0.2, 0.9],
            "risk_level": ["low", "high"],
            "out_of_fold": [True, False],
        }
    )
    for _time in range(2):
        report = load_predictions(
            place.address,
            place.schema,
            table,
            ["class", "pupil"],
            fingerprint="scored",
            comments={"risk_score": "Probability of the bad outcome"},
        )
    assert report.rows == {"predictions": 2}
    assert place.state("predictions") is not None
    assert place.state() == tables
    indexes = place.ask(
        f"SELECT indexname FROM pg_indexes WHERE schemaname = '{place.schema}' "
        "AND tablename = 'predictions' ORDER BY 1"
    )
    assert indexes == [
        "predictions_pkey",
        "predictions_risk_level_idx",
        "predictions_risk_score_idx",
    ]
    before = place.state("predictions")
    place.load()
    assert place.state("predictions") == before


EXTREMES: dict[str, tuple[Any, list[Any]]] = {
    "short": (pa.int16(), [-(2**15), 2**15 - 1, None]),
    "whole": (pa.int32(), [-(2**31), 2**31 - 1, None]),
    "long": (pa.int64(), [-(2**63), 2**63 - 1, None]),
    "number": (pa.float64(), [5e-324, -1.7976931348623157e308, None]),
    "text": (pa.string(), ["", "œuf 🥚\t\"'\\.\n", None]),
    "flag": (pa.bool_(), [True, False, None]),
    "day": (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "at": (
        pa.timestamp("us"),
        [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), None],  # noqa: DTZ001
    ),
    "zoned": (
        pa.timestamp("us", "UTC"),
        [dt.datetime(1999, 12, 31, 23, 59, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
         None],
    ),
}  # fmt: skip


def test_the_first_and_the_last_value_of_each_type_arrive(place: Place) -> None:
    columns = {name: pa.array(values, kind) for name, (kind, values) in EXTREMES.items()}
    table = pa.table({"n": pa.array([1, 2, 3], pa.int32()), **columns})
    load_predictions(place.address, place.schema, table, ["n"], fingerprint="x")
    with place.connect() as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        names = sql.SQL(", ").join(map(sql.Identifier, EXTREMES))
        found = connection.execute(
            sql.SQL("SELECT {} FROM {} ORDER BY n").format(
                names, sql.Identifier(place.schema, "predictions")
            )
        ).fetchall()
    assert found == list(zip(*(values for _kind, values in EXTREMES.values()), strict=True))
