"""What is known of an audit is not waited for: libraries are only asked for where one is made."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vigie.audit import run
from vigie.dataset.declaration import read_declaration
from vigie.errors import DataError
from vigie.paths import ProjectPaths


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    return ProjectPaths(tmp_path, "dev")


SETTINGS: Any = SimpleNamespace(get=lambda name: {"dataset": "oulad"}[name])


def results(paths: ProjectPaths) -> str:
    """Write something in each place that an audit looks at; return its digest."""
    for path in run.audited_files(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name, "utf-8")
    text, _origin = read_declaration("oulad", paths.project)
    return run.results_digest(paths, text)


def never() -> None:
    raise AssertionError("nothing is to be audited")


def test_without_results_nobody_waits(paths):
    with pytest.raises(DataError, match="no whole run") as told:
        run.known_audit(SETTINGS, paths, before_auditing=never)
    assert told.value.fix is not None
    assert "--mode dev" in told.value.fix


def test_an_audit_of_these_results_is_taken_as_it_is(paths):
    kept = {"of": results(paths), "parts": [{"name": "clocks"}]}
    paths.report("audit", ".json").write_text(json.dumps(kept), "utf-8")
    assert run.known_audit(SETTINGS, paths, before_auditing=never) == kept


@pytest.mark.parametrize("kept", ['{"of": "other results"}', "no JSON", None])
def test_what_is_audited_anew_is_announced(paths, monkeypatch, kept):
    results(paths)
    if kept is not None:
        paths.report("audit", ".json").write_text(kept, "utf-8")
    heard: list[str] = []

    def audit(*_given: object) -> tuple[list[Any], dict[str, Any]]:
        heard.append("audited")
        return [], {"parts": []}

    monkeypatch.setattr(run, "audit_results", audit)
    found = run.known_audit(SETTINGS, paths, before_auditing=lambda: heard.append("announced"))
    assert found == {"parts": []}
    assert heard == ["announced", "audited"]
