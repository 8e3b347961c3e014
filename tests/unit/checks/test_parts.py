"""What the checks decide, on plain values."""

from __future__ import annotations

import doctest
import gzip
import os
import zipfile
from pathlib import Path

import pytest

from vigie.checks import estimate, finding, versions
from vigie.checks.check import CHECKS, refuse_unknown, run_checks
from vigie.checks.estimate import MB, estimate_needs, uncompressed_bytes
from vigie.checks.finding import Finding, as_json, render_text
from vigie.checks.logs import last_errors, why_not_writable
from vigie.checks.resources import Place, judge_memory, judge_places
from vigie.checks.versions import differences, find_lock, locked_versions, unmet_requirements
from vigie.data.raw_files import RawFile
from vigie.errors import DataError, UsageError
from vigie.verdict import Verdict


@pytest.mark.parametrize("module", [estimate, finding, versions])
def test_the_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


# --- running them ----------------------------------------------------------------------------


def test_no_check_stops_another() -> None:
    def good(_context: object) -> list[Finding]:
        return [Finding("good", Verdict.PASS, "fine")]

    def broken(_context: object) -> list[Finding]:
        raise RuntimeError("postgresql://ann:s3cret@db/x is odd")

    def refused(_context: object) -> list[Finding]:
        raise DataError("no file", where="data/raw", fix="put one there")

    def unreadable(_context: object) -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/secret")

    checks = {"broken": broken, "refused": refused, "unreadable": unreadable, "good": good}
    found = run_checks(None, checks=checks)  # type: ignore[arg-type]
    assert [one.status for one in found] == ["warn", "fail", "fail", "pass"]
    assert "s3cret" not in found[0].said
    assert found[1].fix == "put one there"
    assert "/secret" in found[2].said
    assert as_json(found)["status"] == "fail"
    text = render_text(found)
    assert "→ put one there" in text
    assert text.endswith("4 checks: 1 pass, 1 warn, 2 fail")


def test_a_skipped_check_is_not_run_but_named() -> None:
    def never(_context: object) -> list[Finding]:
        raise AssertionError

    found = run_checks(None, skip=["disk"], checks={"disk": never})  # type: ignore[arg-type]
    assert [(one.name, one.status) for one in found] == [("disk", Verdict.SKIPPED)]


def test_an_unknown_check_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        refuse_unknown(["dsk"])
    assert "disk" in str(caught.value.fix)
    refuse_unknown(list(CHECKS))


# --- disk and memory -------------------------------------------------------------------------


def test_places_on_one_disk_need_their_sum(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    half = Place(tmp_path / "a", int(free * 0.3))
    [alone] = judge_places([half])
    assert alone.status == Verdict.PASS
    [both] = judge_places([half, Place(tmp_path / "b" / "c", int(free * 0.6))])
    assert both.status == Verdict.WARN
    [too_much] = judge_places([half, Place(tmp_path / "b" / "c", free)])
    assert too_much.status == Verdict.FAIL
    assert too_much.fix is not None


@pytest.mark.parametrize(
    ("available", "swap", "status"),
    [(900, 0, "pass"), (700, 0, "warn"), (500, 200, "warn"), (500, 50, "fail")],
)
def test_memory_is_judged_with_room_to_spare(available: int, swap: int, status: str) -> None:
    assert judge_memory(available * MB, 600 * MB, swap=swap * MB).status == status


def test_the_estimate_counts_csv_not_archives(tmp_path: Path) -> None:
    text = b"a,b\n" + b"1,2\n" * 200_000
    plain, packed, archive = (tmp_path / name for name in ("a.csv", "b.csv.gz", "c.zip"))
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("c.csv", text)
    files = [RawFile("a", plain), RawFile("b", packed), RawFile("c", archive, "c.csv")]
    assert uncompressed_bytes(files) == 3 * len(text)


def test_a_server_of_ones_own_needs_no_disk_here() -> None:
    here = estimate_needs(500 * MB, embedded=True, engine_bytes=1000 * MB)
    elsewhere = estimate_needs(500 * MB, embedded=False, engine_bytes=1000 * MB)
    assert here.database > 1000 * MB
    assert elsewhere.database == 0
    assert elsewhere.memory < here.memory


def test_a_run_that_loads_no_tables_needs_no_room_for_them() -> None:
    asked = {"embedded": True, "engine_bytes": 1000 * MB}
    without = estimate_needs(14_000 * MB, tables=False, **asked)
    assert without.database < 1000 * MB
    assert without.files == estimate_needs(14_000 * MB, **asked).files


# --- logs ------------------------------------------------------------------------------------

LOG = (
    "2026-01-01 10:00:00,000 INFO    🚀 PIPELINE ORCHESTRATOR - MODE: PROD\n"
    "2026-01-01 10:00:01,000 ERROR   ❌ old trouble\n"
    "2026-01-02 10:00:00,000 INFO    🚀 PIPELINE ORCHESTRATOR - MODE: PROD\n"
    "2026-01-02 10:00:01,000 ERROR   ❌ new trouble\n"
)


def test_errors_of_the_last_run_count_and_older_ones_do_not(tmp_path: Path) -> None:
    log = tmp_path / "pipeline_prod.log"
    log.write_text(LOG, "utf-8")
    assert [(one.line, one.text) for one in last_errors(log)] == [(4, "❌ new trouble")]
    size = log.stat().st_size
    with log.open("a", encoding="utf-8") as opened:
        opened.write("2026-01-03 10:00:00,000 INFO    🚀 PIPELINE ORCHESTRATOR - MODE: PROD\n")
    assert last_errors(log) == []
    assert len(last_errors(log, size)) == 1


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "pipeline_prod.log"
    assert why_not_writable(log) is None
    assert not log.parent.exists()
    log.mkdir(parents=True)
    assert why_not_writable(log) is not None


# --- versions --------------------------------------------------------------------------------


def test_pins_of_other_systems_do_not_count(tmp_path: Path) -> None:
    lock = (
        "numpy==2.4.0 \\\n    --hash=sha256:aa\n"
        "colorama==0.4.6 ; sys_platform == 'nowhere' \\\n    --hash=sha256:bb\n"
        "    # via x\n"
    )
    assert locked_versions(lock) == {"numpy": "2.4.0"}
    assert differences({"numpy": "2.4.0"}, {"numpy": None}) == ["numpy – (2.4.0)"]
    (tmp_path / "requirements.lock").write_text(lock)
    assert find_lock(tmp_path) == tmp_path / "requirements.lock"


def test_what_vigie_needs_is_installed_where_its_tests_run() -> None:
    assert unmet_requirements("vigie") == []
