"""A PostgreSQL of the system, as somebody has it who writes its address into ``.env``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
PASSWORD = "ca:n@ry/%41 'x\"é"


@dataclass(frozen=True, slots=True)
class OwnServer:
    """Where it listens; its only user owns the database and may make more of them."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    name: str


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    """Run a cluster of its own on 127.0.0.1, with passwords; as nobody where we are root."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.parts[-3])],
    )
    if not found:
        pytest.skip("no PostgreSQL is installed on this system")
    binaries = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="vigie-own-"))
    data, secret = folder / "data", folder / "password"
    as_user: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}
    secret.write_text(PASSWORD + "\n", "utf-8")
    if os.geteuid() == 0:
        as_user |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        os.chown(folder, NOBODY, NOBODY)
        os.chown(secret, NOBODY, NOBODY)

    def run(program: str, *arguments: object) -> None:
        with (folder / "output").open("w+") as output:
            done = subprocess.run(
                [str(binaries / program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
                **as_user,
            )
            output.seek(0)
            assert done.returncode == 0, output.read()

    try:
        run(
            "initdb", "-D", data, "-U", "vigie_owner", "-A", "scram-sha-256", "--pwfile", secret,
            "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        run("pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
        try:
            yield OwnServer("127.0.0.1", port, "vigie_owner", PASSWORD, "postgres")
        finally:
            run("pg_ctl", "stop", "-w", "-D", data, "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
