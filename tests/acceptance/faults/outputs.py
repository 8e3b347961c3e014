"""What a run makes, as hashes: files, and tables of PostgreSQL; and what it must not leave.

Everything but five things is the same, byte for byte, in every run on the same data: a model's
metadata say when it was trained and how long that took, its copies in ``models/versions`` carry
that time in their names, its card says both, the report tells of the run, and logs and run records
tell what happened. The model file, the figures and the report's list are stable.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from tests.acceptance.project import Project
from tests.conftest import ROOT
from vigie.data.load_plan import RECORD_TABLE
from vigie.pipeline.artifacts import ASIDE_MARK, TEMPORARY_MARK

Hashes = dict[str, str]
FOLDERS = ("data/interim/extracted_dev", "data/interim/clean_dev", "reports/figures_dev")
STAMPED = ("trained_at", "fit_seconds")
VERSIONS = "models/versions"
_TIMES = re.compile(rb"\d{8}T\d{6,}Z?|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)?")
_LIST = re.compile(rb'id="list-data">(.*?)</script>', re.DOTALL)
_BESIDE_POSTGRES = {"postgres.lock", "postgres.users"}


# --- files -----------------------------------------------------------------------------------


def file_hashes(folder: Path) -> Hashes:
    """Return a hash of every result by its path; unfinished and set-aside files don't count."""
    found = {}
    for top in ("data/interim", "data/processed", "data/quarantine", "models", "reports"):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not _is_unfinished(name) and not name.startswith(VERSIONS):
                found[name] = file_hash(path)
    return found


def file_hash(path: Path) -> str:
    """Return the content's sha256, of a model's metadata and card without the time stamps."""
    content = path.read_bytes()
    if path.name.startswith("model_metadata"):
        described = json.loads(content)
        for stamp in STAMPED:
            del described[stamp]
        # A copy is named after its time.
        described["file"] = described["file"].split("_dev")[0]
        content = json.dumps(described, sort_keys=True).encode()
    elif path.name.startswith("model_card"):
        content = _TIMES.sub(b"", content)
    elif path.name.startswith("report_"):
        # Whole, and with the same list.
        whole = content.endswith(b"</html>")
        content = b"".join(_LIST.findall(content)) if whole else content
    return hashlib.sha256(content).hexdigest()


def _is_unfinished(name: str) -> bool:
    return TEMPORARY_MARK in name or ASIDE_MARK in name


def half_made(folder: Path, known: Iterable[Mapping[str, str]]) -> list[str]:
    """Return what under `folder` is neither the old nor the new result, whole."""
    known = list(known)
    found = file_hashes(folder)
    wrong = [name for name, value in found.items() if value not in {one.get(name) for one in known}]
    for top in FOLDERS:
        present = _below(found, top)
        if present and present not in [_below(one, top) for one in known]:
            wrong.append(f"{top}/ is a mixture")
    current = {
        ".pkl": "models/random_forest_dev.pkl",
        ".json": "models/model_metadata_dev.json",
        ".parquet": "models/out_of_fold_dev.parquet",
    }
    return wrong + [
        f"{VERSIONS}/{path.name}"
        for path in sorted((folder / VERSIONS).glob("[!.]*"))
        if file_hash(path) not in {one[current[path.suffix]] for one in known}
    ]


def _below(hashes: Mapping[str, str], top: str) -> Hashes:
    return {name: value for name, value in hashes.items() if name.startswith(f"{top}/")}


def differing(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return the names that are missing, too many or different."""
    return [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]


# --- tables ----------------------------------------------------------------------------------


def table_hashes(project: Project) -> Hashes:
    """Return a hash over the rows of every table, and every schema's list of relations.

    Another process asks, which starts the server and stops it again.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(project.folder / ".vigie" / "postgres")],
        cwd=project.folder,
        env={**project.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: Hashes = json.loads(done.stdout)
    return found


def read_tables(url: str, schema: str = "vigie_dev") -> Hashes:
    """Return the hashes from the database at `url`."""
    import psycopg

    with psycopg.connect(url) as connection:
        relations = connection.execute(
            "SELECT n.nspname || '.' || c.relname, c.relkind::text FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname !~ '^(pg_|information_schema)' ORDER BY 1"
        ).fetchall()
        found = {"relations": json.dumps(relations)}
        for name, kind in relations:
            if kind != "r" or not name.startswith(f"{schema}."):
                continue
            # The record of a load says when it was, and which model's metadata it came from.
            rows = "t.name, t.tables, t.touched_at" if name.endswith(RECORD_TABLE) else "t"
            (value,) = connection.execute(
                f"SELECT md5(string_agg(row({rows})::text, E'\\n' ORDER BY row({rows})::text)) "
                f"FROM {name} t"
            ).fetchone() or (None,)
            found[name] = str(value)
    return found


# --- what must not stay ----------------------------------------------------------------------


def leftovers(project: Project) -> list[str]:
    """Return temporary files, and sockets, that nobody will ever clear away."""
    left = []
    for path in project.folder.rglob("*"):
        name = path.relative_to(project.folder).as_posix()
        if _is_unfinished(name) or ".making" in name:
            left.append(name)
    state = project.folder / ".vigie"
    left += [str(path) for path in (state / "spill").rglob("*")]
    left += [str(state / name) for name in ("postgres/postmaster.pid",) if (state / name).exists()]
    # The socket's folder stays, empty: another run may be about to start its server in it.
    temporary = Path(project.environ["TMPDIR"])
    left += [
        str(path)
        for path in temporary.rglob("*")
        if not (path.is_dir() and path.name.startswith("vigie-"))
        and not (path.parent == temporary and _is_trial(path))
    ]
    return left


def _is_trial(path: Path) -> bool:
    """Whether Python was killed while it tried if one may write here.

    `tempfile.gettempdir` writes four bytes and removes them at once, when first asked.
    """
    return (
        re.fullmatch("[a-z0-9_]{8}", path.name) is not None
        and path.is_file()
        and path.read_bytes() in (b"", b"blat")
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the living processes that work in `folder` or were told its name."""
    found = []
    text = str(folder)
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            cwd = process.cwd()
            if cwd == text or cwd.startswith(f"{text}/") or text in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


if __name__ == "__main__":
    from vigie.data.postgres import open_embedded

    with open_embedded(Path(sys.argv[1])) as address:
        print(json.dumps(read_tables("".join(address.url()))))
