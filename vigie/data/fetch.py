"""Downloading the OULAD release as one zip archive, resumable, and checked before it counts.

Nothing is called ``oulad.zip`` before it is whole, safe to open, and has the expected rows. What a
broken-off transfer brought stays in ``oulad.zip.part``, with the server's mark of the version
(ETag or Last-Modified) beside it, so that two versions are never glued together.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vigie.data.fetch_archive import (
    MAX_UNPACKED_BYTES,
    BadArchive,
    Budget,
    check_archive,
    find_other_copies,
)
from vigie.errors import FetchError
from vigie.i18n import _
from vigie.pipeline.fingerprint import mask_passwords

OULAD_URLS = (
    "https://analyse.kmi.open.ac.uk/open-dataset/download",
    "https://archive.ics.uci.edu/static/public/349/open+university+learning+analytics+dataset.zip",
)
OULAD_ROW_COUNTS = {
    "assessments": 206,
    "courses": 22,
    "studentAssessment": 173_912,
    "studentInfo": 32_593,
    "studentRegistration": 32_593,
    "studentVle": 10_655_280,
    "vle": 6_364,
}
_CHUNK = 1 << 18
_LONGEST_PAUSE_SECONDS = 60.0
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a download brought.

    Attributes
    ----------
    url
        The address that it came from, passwords masked; empty where the file was there already.
    bytes, sha256
        Of the file as it now stands.
    resumed_from
        The byte at which the last transfer went on; 0 for one that came in one go.
    """

    path: Path
    url: str
    bytes: int
    sha256: str
    resumed_from: int
    row_counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Transfer:
    part: Path
    progress: Callable[[int, int | None], None] | None
    timeout_seconds: float
    retries: int
    backoff_seconds: float
    max_bytes: int

    @property
    def mark(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)


class _Refused(Exception):
    """Nothing for us at an address; asking again won't help."""


class _Broken(_Refused):
    """The transfer broke; asking again may help."""


class _Unreachable(_Broken):
    """Nobody is there; asking again helps only where somebody just was."""


def fetch_oulad(
    target_dir: Path,
    *,
    urls: Sequence[str] = OULAD_URLS,
    expected_rows: Mapping[str, int] = OULAD_ROW_COUNTS,
    progress: Callable[[int, int | None], None] | None = None,
    timeout_seconds: float = 30.0,
    retries: int = 5,
    backoff_seconds: float = 1.0,
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
) -> FetchReport:
    """Download OULAD to ``oulad.zip`` in `target_dir`; a file already there and right is kept.

    Parameters
    ----------
    urls
        Addresses in the order to try; one whose transfer was begun earlier comes first.
    expected_rows
        Rows without the header by table; the archive must hold ``{table}.csv`` of each.
    progress
        Called with the bytes there and the bytes in all (None where the server doesn't say).
    timeout_seconds
        How long a server may be silent.
    retries
        How often a broken transfer is tried again without getting any further.
    backoff_seconds
        Pause before the first retry; it doubles each time, up to a minute.
    max_unpacked_bytes
        What the archive may unpack to at most.

    Notes
    -----
    A zip that holds the data set as a single inner zip is replaced by the inner one, because the
    extract step looks one level deep.

    Raises
    ------
    FetchError
        When no address gave the data set, the folder can't be written, or it holds other copies of
        the tables.
    """
    whole = target_dir / "oulad.zip"
    for url in urls:
        _check_address(url, target_dir)
    transfer = _Transfer(
        target_dir / "oulad.zip.part",
        progress,
        timeout_seconds,
        retries,
        backoff_seconds,
        max_unpacked_bytes,
    )
    with _disk_faults(target_dir):
        target_dir.mkdir(parents=True, exist_ok=True)
        _refuse_other_copies(target_dir, whole, expected_rows)
        if whole.is_file():
            try:
                checked, counts = check_archive(whole, expected_rows, Budget(max_unpacked_bytes))
            except BadArchive:
                pass  # it is replaced once a right one is here
            else:
                if checked != whole:
                    checked.replace(whole)
                return _report(whole, "", 0, counts)
        return _try_each(urls, transfer, whole, expected_rows)


def _try_each(
    urls: Sequence[str], transfer: _Transfer, whole: Path, expected_rows: Mapping[str, int]
) -> FetchReport:
    failures = []
    begun = _read_mark(transfer).get("url")
    for url in sorted(urls, key=lambda one: _fingerprint(one) != begun):
        try:
            resumed_from, checked, counts = _bring(url, transfer, expected_rows)
        except _Refused as error:
            failures.append(f"{mask_passwords(url)}: {error}")
            continue
        checked.replace(whole)
        transfer.forget()
        return _report(whole, mask_passwords(url), resumed_from, counts)
    fix = _("Download it in a browser from {url} and put the zip into {folder}.").format(
        url=OULAD_URLS[0], folder=whole.parent
    )
    if kept := transfer.size():
        fix += "\n" + _("Or run the same command again: it goes on after {kept:,} bytes.").format(
            kept=kept
        )
    raise FetchError(
        _("The data set could not be downloaded from any address."),
        where="\n".join(failures),
        fix=fix,
    )


def _bring(
    url: str, transfer: _Transfer, expected_rows: Mapping[str, int]
) -> tuple[int, Path, dict[str, int]]:
    """Download and check; what was resumed and turns out bad is fetched again from the start."""
    while True:
        resumed_from = _download(url, transfer)
        try:
            path, counts = check_archive(transfer.part, expected_rows, Budget(transfer.max_bytes))
        except BadArchive as error:
            transfer.forget()
            if not resumed_from:
                raise _Refused(str(error)) from error
        else:
            return resumed_from, path, counts


def _download(url: str, transfer: _Transfer) -> int:
    """Bring the whole body into the part file; return the byte at which the last try went on."""
    begun = furthest = transfer.size()
    failures = 0
    while True:
        try:
            return _request(url, transfer)
        except _Broken as error:
            if isinstance(error, _Unreachable) and transfer.size() <= begun:
                raise
            # A poor line that gets further each time may take as many tries as it needs.
            failures = 0 if transfer.size() > furthest else failures
            furthest = max(furthest, transfer.size())
            failures += 1
            if failures > transfer.retries:
                raise
            time.sleep(min(_LONGEST_PAUSE_SECONDS, transfer.backoff_seconds * 2 ** (failures - 1)))


def _request(url: str, transfer: _Transfer) -> int:
    mark = _read_mark(transfer)
    have = transfer.size() if mark.get("url") == _fingerprint(url) else 0
    headers = {"User-Agent": "vigie"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark["validator"]}
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - scheme is checked
        response = _opener().open(request, timeout=transfer.timeout_seconds)
    except urllib.error.HTTPError as error:
        with error:
            return _read_refusal(error, have, transfer)
    except (http.client.InvalidURL, ValueError) as error:
        raise _Refused(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _network_fault(error) from error
    with response:
        start, total = _begin(response, url, have, transfer)
        if (total or 0) > transfer.max_bytes:
            raise _Refused(_("the file is too large: {total:,} bytes").format(total=total))
        _pour(response, transfer, start, total)
    return start


def _read_refusal(error: urllib.error.HTTPError, have: int, transfer: _Transfer) -> int:
    if error.code == 416 and have:
        if error.headers.get("Content-Range", "").strip() == f"bytes */{have}":
            return have  # all of it came before, only the check was missed
        transfer.forget()
        raise _Broken(_("the server doesn't have the rest of the file"))
    kind = _Broken if error.code in _PASSING_STATUS else _Refused
    raise kind(f"HTTP {error.code} {error.reason}")


def _begin(
    response: http.client.HTTPResponse, url: str, have: int, transfer: _Transfer
) -> tuple[int, int | None]:
    """Return where the body starts in the file and how long the file is, and prepare the part."""
    length = response.headers.get("Content-Length", "")
    if response.status == 206:
        expected = _read_mark(transfer).get("validator")
        unit, _space, span = response.headers.get("Content-Range", "").partition(" ")
        first, _dash, rest = span.partition("-")
        size = rest.partition("/")[2]
        # Some servers answer a Range and look at no If-Range.
        same = expected in (response.headers.get("ETag"), response.headers.get("Last-Modified"))
        if not have or unit != "bytes" or first != str(have) or not same:
            transfer.forget()
            raise _Broken(_("the file on the server changed"))
        return have, int(size) if size.isdigit() else None
    if response.status != 200:
        raise _Refused(f"HTTP {response.status} {response.reason}")
    # First empty the file, then mark it: a kill in between must not leave old bytes, new mark.
    transfer.part.write_bytes(b"")
    _write_mark(response, url, transfer)
    return 0, int(length) if length.isdigit() else None


def _pour(
    response: http.client.HTTPResponse, transfer: _Transfer, start: int, total: int | None
) -> None:
    done = start
    with transfer.part.open("ab") as sink:
        while True:
            try:
                chunk = response.read1(_CHUNK)  # what is there: a break loses nothing
            except (OSError, http.client.HTTPException) as error:
                raise _network_fault(error) from error
            if not chunk:
                break
            done += len(chunk)
            if done > transfer.max_bytes:
                raise _Refused(_("the file is too large: {total:,} bytes").format(total=done))
            sink.write(chunk)
            if transfer.progress:
                transfer.progress(done, total)
    if total is not None and done != total:
        raise _Broken(
            _("the transfer broke off after {done:,} of {total:,} bytes").format(
                done=done, total=total
            )
        )


def _network_fault(error: Exception) -> _Refused:
    reason = getattr(error, "reason", None) or error
    text = mask_passwords(str(reason)) or type(reason).__name__
    if isinstance(reason, ssl.SSLCertVerificationError | _Refused):
        return _Refused(text)
    if isinstance(reason, socket.gaierror | ConnectionRefusedError):
        return _Unreachable(text)
    return _Broken(text)


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https; urllib would also go to ftp."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        if urlsplit(newurl).scheme.lower() not in ("http", "https"):
            raise _Refused(
                _("it redirects to {url}, which is not http").format(url=mask_passwords(newurl))
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https and nothing else, through the environment's proxy."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _HttpRedirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _fingerprint(url: str) -> str:
    """Return what stands for `url` on disk: an address may hold a password."""
    return hashlib.sha256(url.encode()).hexdigest()


def _read_mark(transfer: _Transfer) -> dict[str, str]:
    """Return which version the part file belongs to; empty where it can't be resumed."""
    try:
        mark = json.loads(transfer.mark.read_text(encoding="utf-8"))
        return {"url": str(mark["url"]), "validator": str(mark["validator"])}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _write_mark(response: http.client.HTTPResponse, url: str, transfer: _Transfer) -> None:
    etag = response.headers.get("ETag", "")
    # A weak ETag promises like content, not like bytes, and may not stand in If-Range.
    validator = response.headers.get("Last-Modified") if etag[:2] in ("", "W/") else etag
    if validator is None:
        transfer.mark.unlink(missing_ok=True)
        return
    text = json.dumps({"url": _fingerprint(url), "validator": validator})
    transfer.mark.write_text(text + "\n", encoding="utf-8")


def _check_address(url: str, folder: Path) -> None:
    parts = urlsplit(url)
    fix = _("Give another address, or put the zip into {folder} yourself.").format(folder=folder)
    if parts.scheme.lower() not in ("http", "https"):
        raise FetchError(
            _("Only http and https addresses can be downloaded."),
            where=mask_passwords(url),
            fix=fix,
        )
    if "@" in parts.netloc:
        # urllib takes it for a part of the host, and would send it on after a redirect.
        raise FetchError(
            _("An address with a password in it can't be downloaded."),
            where=mask_passwords(url),
            fix=fix,
        )


def _refuse_other_copies(folder: Path, whole: Path, expected_rows: Mapping[str, int]) -> None:
    """Refuse where a table would stand twice: the extract step could not tell which one counts."""
    others = find_other_copies(folder, expected_rows, but=whole)
    if others:
        raise FetchError(
            _("The folder holds tables of this data set already."),
            where=", ".join(str(path) for path in others),
            fix=_("Move them away first if the whole release is to take their place."),
        )


def _report(whole: Path, url: str, resumed_from: int, counts: dict[str, int]) -> FetchReport:
    with whole.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return FetchReport(whole, url, whole.stat().st_size, digest, resumed_from, counts)


@contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    """Say what a full disk or a folder without rights means; what came so far stays."""
    try:
        yield
    except OSError as error:
        raise FetchError(
            _("The download can't be written: {reason}").format(
                reason=error.strerror or type(error).__name__
            ),
            where=str(error.filename or folder),
            fix=_("Check the folder's rights and free space; the same command goes on then."),
        ) from error
