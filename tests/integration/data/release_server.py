"""A web server on loopback that serves a zip and fails in the ways that real ones do."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Release:
    """What the server does; a test changes it as it goes."""

    body: bytes
    etag: str | None = '"one"'
    status: int = 200
    #: Breaks off after so many bytes of each answer.
    break_after: int | None = None
    #: Answers 503 so many times first.
    busy: int = 0
    ranges: bool = True
    #: Answers a range without a look at If-Range.
    careless: bool = False
    says_length: bool = True
    redirect: str | None = None
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serve(release: Release) -> Iterator[str]:
    """Yield the address at which `release` is served."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            release.requests.append(dict(self.headers.items()))
            if release.redirect:
                self.answer(302, b"", {"Location": release.redirect})
            elif release.busy:
                release.busy -= 1
                self.answer(503, b"busy", {})
            elif release.status != 200:
                self.answer(release.status, b"no", {})
            else:
                self.serve_body()

        def serve_body(self) -> None:
            headers = {"ETag": release.etag} if release.etag else {}
            asked = self.headers.get("Range", "")
            same = release.careless or self.headers.get("If-Range") == release.etag
            if asked and release.ranges and same:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(release.body):
                    span = {"Content-Range": f"bytes */{len(release.body)}"}
                    self.answer(416, b"", headers | span)
                    return
                span = f"bytes {start}-{len(release.body) - 1}/{len(release.body)}"
                self.answer(206, release.body[start:], headers | {"Content-Range": span})
            else:
                self.answer(200, release.body, headers)

        def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if release.says_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status in (200, 206) and release.break_after is not None:
                body = body[: release.break_after]
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/download"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def zip_of(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of `members`, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()
