"""A PostgreSQL of the system, as somebody has it who writes its address into ``.env``."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
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
    control: Callable[[str], None] = field(default=lambda _verb: None, compare=False)

    @property
    def conninfo(self) -> str:
        """What psycopg connects with."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.name,
        )

    def dotenv(self) -> str:
        """Return the lines of a ``.env`` that names it."""
        password = json.dumps(self.password, ensure_ascii=False)
        return (
            f"DB_HOST={self.host}\nDB_PORT={self.port}\nDB_NAME={self.name}\n"
            f"DB_USER={self.user}\nDB_PASSWORD={password}\n"
        )


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

        def control(verb: str) -> None:
            """Start, stop or restart it; open connections are broken off."""
            how = () if verb == "start" else ("-m", "immediate")
            told = () if verb == "stop" else ("-l", folder / "log", "-o", options)
            run("pg_ctl", verb, "-w", "-D", data, *how, *told)

        control("start")
        try:
            yield OwnServer("127.0.0.1", port, "vigie_owner", PASSWORD, "postgres", control)
        finally:
            if (data / "postmaster.pid").exists():
                control("stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
