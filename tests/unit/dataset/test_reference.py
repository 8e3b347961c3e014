"""The reference of declarations: every key is described, and known where it may stand."""

from __future__ import annotations

from vigie.dataset.reference import field_descriptions, json_schema, keys_at


def test_every_key_is_described() -> None:
    schema = json_schema()
    described = field_descriptions()
    for name, part in {"Dataset": schema, **schema["$defs"]}.items():
        for key in part["properties"]:
            assert described.get((name, key), "").endswith((".", '."')), f"{name}.{key}"
            assert part["properties"][key]["description"] == described[name, key]


def test_keys_are_known_where_they_may_stand() -> None:
    assert "clock" in keys_at(("tables", "orders"))
    assert "minimum" in keys_at(("tables", "orders", "columns", "price"))
    assert "due_clock" in keys_at(("features", 3, "expected"))
    assert "aggregates" in keys_at(("features", 3, "events", "measures", 0))
    assert keys_at(("nothing",)) == []
