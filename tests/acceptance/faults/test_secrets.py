"""A password is in nothing that a run leaves or shows, and personal files are for their owner."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.acceptance.faults.conftest import MakeProject
from tests.acceptance.faults.live import LiveRun
from tests.acceptance.faults.tally import Tally
from tests.acceptance.project import Project
from tests.integration.postgres15 import OwnServer, own_server

__all__ = ["own_server"]
pytestmark = [pytest.mark.faults, pytest.mark.slow]

CANARY = "c4n4ry-in-the-coal-mine"
STEPS = ("--steps", "extract", "transform", "load")


def spellings(secret: str) -> set[bytes]:
    """Return the secret as it may stand somewhere: as it is, quoted for a URL, escaped."""
    return {
        one.encode()
        for one in (secret, quote(secret, safe=""), repr(secret)[1:-1], secret.replace("'", "\\'"))
    }


def left(project: Project, secret: str) -> list[str]:
    """Return the files that hold the secret, but for ``.env`` where it belongs."""
    return [
        str(path)
        for path in project.folder.rglob("*")
        if path.is_file() and path.name != ".env" and holds(path.read_bytes(), secret)
    ]


def holds(content: bytes, secret: str) -> bool:
    return any(one in content for one in spellings(secret))


def write_env(project: Project, text: str) -> None:
    env = project.folder / ".env"
    env.write_text(text, "utf-8")
    env.chmod(0o600)


class Watch(threading.Thread):
    """Reads the command lines of all processes while a run works."""

    def __init__(self, secret: str) -> None:
        super().__init__(daemon=True)
        self.secret, self.seen, self.looks, self.over = secret, set[str](), 0, False

    def run(self) -> None:
        while not self.over:
            for process in psutil.process_iter():
                try:
                    line = "\0".join(process.cmdline())
                except psutil.Error:
                    continue
                if holds(line.encode(errors="replace"), self.secret):
                    self.seen.add(line)
            self.looks += 1
            time.sleep(0.02)


def test_a_run_that_succeeds(
    make_project: MakeProject, own_server: OwnServer, tally: Tally
) -> None:
    with tally.fault("password looked for", "success, backup and check"):
        project = make_project("secrets")
        write_env(project, own_server.dotenv())
        watch = Watch(own_server.password)
        watch.start()
        run = LiveRun.start(project, "--debug", cold=True)
        assert run.finish() == 0, run.errors
        others = [
            project.vigie(*words, cold=True)
            for words in (
                ["backup", "--mode", "dev"],
                ["restore", "last", "--mode", "dev", "--yes"],
                ["check"],
                ["config"],
                ["config", "--json"],
                ["db", "status"],
                ["db", "url"],
                ["runs", "show", "last", "--json"],
            )
        ]
        watch.over = True
        watch.join()
        assert watch.looks > 10
        assert not watch.seen
        said = run.text + run.errors + "".join(one.stdout + one.stderr for one in others)
        assert not holds(said.encode(), own_server.password)
        assert not left(project, own_server.password)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("wrong password", "postgresql://vigie_owner:{canary}@{host}:{port}/postgres"),
        ("nobody answers", "postgresql://ann:{canary}@127.0.0.1:9/x"),
        ("no such host", "postgresql://ann:{canary}@no-such-host.invalid/x"),
        ("no such database", "postgresql://ann:{canary}@{host}:{port}/nowhere"),
        ("not a URL", "postgres//ann:{canary}@{host}"),
        ("a secret option", "postgresql://ann@{host}:{port}/x?sslpassword={canary}"),
    ],
)
def test_a_run_that_fails(
    make_project: MakeProject, own_server: OwnServer, tally: Tally, name: str, address: str
) -> None:
    with tally.fault("password looked for", name):
        project = make_project("secrets")
        text = address.format(canary=CANARY, host=own_server.host, port=own_server.port)
        write_env(project, f"DATABASE_URL={text}\n")
        for words in (["run", "--debug", *STEPS], ["check"], ["db", "status"], ["config"]):
            done = project.vigie(*words)
            assert not holds((done.stdout + done.stderr).encode(), CANARY), words
            if words[0] == "run":
                assert done.returncode in (2, 5), done.stdout + done.stderr
        assert not left(project, CANARY)


def test_a_run_that_is_killed(
    make_project: MakeProject, own_server: OwnServer, tally: Tally
) -> None:
    with tally.fault("password looked for", "kill -9"):
        project = make_project("secrets")
        password = quote(own_server.password, safe="")
        url = f"postgresql://{own_server.user}:{password}@{own_server.host}:{own_server.port}"
        run = LiveRun.start(project, DATABASE_URL=f"{url}/{own_server.name}")
        assert run.wait_for("load")
        run.process.kill()
        run.finish()
        assert not holds((run.text + run.errors).encode(), own_server.password)
        assert not left(project, own_server.password)


def test_files_about_persons_are_for_their_owner_only(finished: Project, tally: Tally) -> None:
    with tally.fault("personal files looked at"):
        personal = [
            path
            for name in ("data/interim", "data/processed", "data/quarantine", "reports", "models")
            for path in (finished.folder / name).rglob("*")
            if path.is_file() and path.suffix in {".csv", ".parquet", ".npy"}
        ]
        assert len(personal) > 10
        assert not [path for path in personal if is_open(path)]
        logs = list((finished.folder / "logs").iterdir())
        assert logs
        finished.vigie("run", "--steps", "extract")
        (finished.folder / ".env").write_text("DB_PORT=5432\n", "utf-8")
        (finished.folder / ".env").chmod(0o644)
        said = finished.vigie("run", "--lang", "en", "--explain")
        assert ".env" in said.stdout + said.stderr


def is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)
