"""Downloads against a local server that breaks off, answers 404, or serves something else."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from tests.integration.data.release_server import Release, serve, zip_of
from vigie.data.fetch import FetchReport, fetch_oulad
from vigie.errors import FetchError

ROWS = {"courses": 3, "studentInfo": 5000}


def table(rows: int) -> bytes:
    # Digits that don't compress well, so that a transfer has a middle to break in.
    digits = random.Random(rows)
    lines = [f"{digits.random()},{digits.random()}" for _ in range(rows)]
    return ("a,b\n" + "\n".join(lines) + "\n").encode()


TABLES = {name: table(rows) for name, rows in ROWS.items()}
BODY = zip_of({f"{name}.csv": content for name, content in TABLES.items()})


def bring(folder: Path, *urls: str, **options: object) -> FetchReport:
    given = {"retries": 2, "backoff_seconds": 0.01, "timeout_seconds": 5.0} | options
    return fetch_oulad(folder, urls=urls, expected_rows=ROWS, **given)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_whole_and_counted(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with serve(Release(BODY)) as url:
        report = bring(tmp_path / "raw", url, progress=lambda *at: seen.append(at))
    assert (tmp_path / "raw" / "oulad.zip").read_bytes() == BODY
    assert report.path == tmp_path / "raw" / "oulad.zip"
    assert (report.url, report.bytes, report.resumed_from) == (url, len(BODY), 0)
    assert report.sha256 == hashlib.sha256(BODY).hexdigest()
    assert report.row_counts == ROWS
    assert names(tmp_path / "raw") == ["oulad.zip"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert sorted(seen) == seen


def test_it_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    release = Release(BODY, break_after=len(BODY) // 5)
    with serve(release) as url:
        report = bring(tmp_path, url, retries=1)
    # Each try got a fifth further, so more tries than `retries` were made.
    assert len(release.requests) == 6
    assert [one.get("Range") for one in release.requests[:2]] == [
        None,
        f"bytes={len(BODY) // 5}-",
    ]
    assert report.resumed_from == 5 * (len(BODY) // 5)
    assert (tmp_path / "oulad.zip").read_bytes() == BODY


def test_a_later_command_goes_on_too(tmp_path: Path) -> None:
    release = Release(BODY, break_after=1000)
    with serve(release) as url:
        release.ranges = False
        with pytest.raises(FetchError, match="could not be downloaded") as caught:
            bring(tmp_path, url)
        assert "after 1,000 bytes" in str(caught.value)
        assert names(tmp_path) == ["oulad.zip.part", "oulad.zip.part.json"]
        release.break_after, release.ranges = None, True
        before = len(release.requests)
        report = bring(tmp_path, url)
    assert len(release.requests) == before + 1
    assert report.resumed_from == 1000
    assert (tmp_path / "oulad.zip").read_bytes() == BODY


def test_only_the_check_was_missed(tmp_path: Path) -> None:
    with serve(Release(BODY)) as url:
        bring(tmp_path, url)
        release = Release(BODY, break_after=len(BODY) // 2)
    with serve(release) as url:
        (tmp_path / "oulad.zip").unlink()
        with pytest.raises(FetchError):
            bring(tmp_path, url, retries=0)
        (tmp_path / "oulad.zip.part").write_bytes(BODY)
        assert bring(tmp_path, url).resumed_from == len(BODY)
        assert len(release.requests) == 2


def test_two_versions_are_never_glued_together(tmp_path: Path) -> None:
    old = zip_of({f"{name}.csv": content[::-1] for name, content in TABLES.items()})
    for careless in (False, True):
        release = Release(old, break_after=3000)
        with serve(release) as url:
            with pytest.raises(FetchError):
                bring(tmp_path, url, retries=0)
            release.body, release.etag, release.break_after = BODY, '"two"', None
            release.careless = careless
            report = bring(tmp_path, url)
        assert report.path.read_bytes() == BODY
        report.path.unlink()


def test_without_a_mark_of_the_version_it_begins_anew(tmp_path: Path) -> None:
    release = Release(BODY, etag=None, break_after=3000)
    with serve(release) as url:
        with pytest.raises(FetchError):
            bring(tmp_path, url, retries=0)
        release.break_after = None
        assert bring(tmp_path, url).resumed_from == 0
        assert "Range" not in release.requests[-1]


def test_bytes_that_rotted_on_disk_are_fetched_again(tmp_path: Path) -> None:
    release = Release(BODY, break_after=3000)
    with serve(release) as url:
        with pytest.raises(FetchError):
            bring(tmp_path, url, retries=0)
        (tmp_path / "oulad.zip.part").write_bytes(b"x" * 3000)
        release.break_after = None
        assert bring(tmp_path, url).resumed_from == 0
    assert (tmp_path / "oulad.zip").read_bytes() == BODY


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    release = Release(BODY, busy=2)
    with serve(release) as url:
        assert bring(tmp_path, url).bytes == len(BODY)
    assert len(release.requests) == 3


def test_404_leads_to_the_next_address(tmp_path: Path) -> None:
    gone = Release(BODY, status=404)
    with serve(gone) as first, serve(Release(BODY)) as second:
        assert bring(tmp_path, first, second).url == second
    assert len(gone.requests) == 1


def test_nobody_has_it(tmp_path: Path) -> None:
    with serve(Release(BODY, status=404)) as first:
        with pytest.raises(FetchError) as caught:
            bring(tmp_path, first, "http://127.0.0.1:1/x")
    assert "HTTP 404" in str(caught.value)
    assert "refused" in str(caught.value)
    assert "put the zip into" in str(caught.value)
    assert names(tmp_path) == []


def test_a_password_in_an_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="password") as caught:
        bring(tmp_path, "http://ann:c4n4ry@127.0.0.1:1/x")
    assert "c4n4ry" not in str(caught.value)


def test_what_is_there_and_right_is_not_fetched_again(tmp_path: Path) -> None:
    release = Release(BODY)
    with serve(release) as url:
        bring(tmp_path, url)
        again = bring(tmp_path, url)
        assert len(release.requests) == 1
        assert (again.url, again.row_counts) == ("", ROWS)
        (tmp_path / "oulad.zip").write_bytes(BODY[:-100])
        assert bring(tmp_path, url).url == url
    assert (tmp_path / "oulad.zip").read_bytes() == BODY


def test_a_length_that_nobody_says(tmp_path: Path) -> None:
    with serve(Release(BODY, says_length=False)) as url:
        assert bring(tmp_path, url).bytes == len(BODY)
    with serve(Release(BODY, says_length=False, break_after=500)) as url:
        (tmp_path / "oulad.zip").unlink()
        with pytest.raises(FetchError, match="no whole zip archive"):
            bring(tmp_path, url)


def test_redirects_are_followed_but_not_to_files(tmp_path: Path) -> None:
    with serve(Release(BODY)) as real:
        with serve(Release(b"", redirect=real)) as url:
            assert bring(tmp_path, url).bytes == len(BODY)
        (tmp_path / "oulad.zip").unlink()
    with serve(Release(b"", redirect="ftp://127.0.0.1/x")) as url:
        with pytest.raises(FetchError, match="not http"):
            bring(tmp_path, url)
    with pytest.raises(FetchError, match="Only http"):
        bring(tmp_path, "file:///etc/passwd")


def inner() -> bytes:
    return zip_of({"open+university.zip": BODY, "readme.txt": b"hello"})


def gzipped() -> bytes:
    return zip_of({f"x/{name}.csv.gz": gzip.compress(text) for name, text in TABLES.items()})


@pytest.mark.parametrize("body", [inner(), gzipped()], ids=["a zip in a zip", "gzipped members"])
def test_other_shapes_of_the_same_release(tmp_path: Path, body: bytes) -> None:
    release = Release(body)
    with serve(release) as url:
        assert bring(tmp_path, url).row_counts == ROWS
        assert bring(tmp_path, url).row_counts == ROWS
    assert len(release.requests) == 1
    assert names(tmp_path) == ["oulad.zip"]
    with zipfile.ZipFile(tmp_path / "oulad.zip") as archive:
        assert {Path(name).name.split(".")[0] for name in archive.namelist()} == set(ROWS)


def damaged() -> bytes:
    body = bytearray(BODY)
    body[len(body) // 2] ^= 0xFF
    return bytes(body)


def link() -> bytes:
    buffer = io.BytesIO(BODY)
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("link.csv")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>log in first</html>", "no whole zip archive"),
        (damaged(), "no whole zip archive"),
        (BODY[: len(BODY) // 2], "no whole zip archive"),
        (zip_of({"courses.csv": TABLES["courses"]}), r"lacks studentInfo\.csv"),
        (
            zip_of({"courses.csv": TABLES["courses"], "studentInfo.csv": table(4999)}),
            "studentInfo has 4,999 rows instead of 5,000",
        ),
        (zip_of({"a/courses.csv": b"a\n", "b/courses.csv": b"a\n"}), "courses twice"),
        (zip_of({"../courses.csv": b"a\n"}), "leads out of its folder"),
        (zip_of({"C:\\courses.csv": b"a\n"}), "leads out of its folder"),
        (link(), "leads out of its folder"),
        (zip_of({"courses.csv": b"a" * (20 << 20)}), "times its size"),
        (
            zip_of({"courses.csv": os.urandom(600_000).hex().encode()}),
            "more than the 1,000,000 bytes",
        ),
    ],
    ids=[
        "a page", "damaged", "cut off", "a table is missing", "a row is missing", "twice",
        "outside", "a drive", "a link", "a bomb", "too large",
    ],
)  # fmt: skip
def test_something_else_never_gets_the_name(tmp_path: Path, body: bytes, said: str) -> None:
    with serve(Release(body)) as url, pytest.raises(FetchError, match=said):
        bring(tmp_path, url, max_unpacked_bytes=1_000_000 if "1,000,000" in said else 1 << 30)
    assert names(tmp_path) == []


def test_tables_that_are_there_already_stay_alone(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "STUDENTINFO.csv").write_text("mine\n")
    release = Release(BODY)
    with serve(release) as url, pytest.raises(FetchError, match="already") as caught:
        bring(tmp_path, url)
    assert "STUDENTINFO.csv" in str(caught.value)
    assert release.requests == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")
    with serve(Release(BODY)) as url, pytest.raises(FetchError, match="can't be written"):
        bring(tmp_path / "raw", url)
