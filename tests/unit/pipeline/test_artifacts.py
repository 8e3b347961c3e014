from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vigie.pipeline import artifacts
from vigie.pipeline.artifacts import (
    FileArtifact,
    FolderArtifact,
    HashCache,
    atomic_folder,
    atomic_write,
    file_sha256,
    remove_leftovers,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomicWrite:
    def test_writes_privately_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "a.csv.gz"
        with atomic_write(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == ".gz"
            temporary.write_text("x")
            assert not target.exists()
        assert target.read_text() == "x"
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert names(target.parent) == ["a.csv.gz"]

    def test_mode_can_be_chosen(self, tmp_path: Path) -> None:
        with atomic_write(tmp_path / "a", mode=0o644) as temporary:
            temporary.write_text("x")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_failing_midway_leaves_the_old_file(
        self, tmp_path: Path, error: type[BaseException]
    ) -> None:
        target = tmp_path / "a.txt"
        target.write_text("old")

        def write_half() -> None:
            with atomic_write(target) as temporary:
                temporary.write_text("half")
                raise error

        with pytest.raises(error):
            write_half()
        assert target.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_failing_sync_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "a.txt"
        target.write_text("old")

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"), atomic_write(target) as temporary:
            temporary.write_text("new")
        assert target.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_writer_that_replaces_the_temporary_file_is_fine(self, tmp_path: Path) -> None:
        with atomic_write(tmp_path / "a") as temporary:
            temporary.unlink()
            temporary.write_text("again")
        assert (tmp_path / "a").read_text() == "again"

    def test_leftover_of_a_killed_writer_is_cleared_by_the_next(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path\n"
            "from vigie.pipeline.artifacts import atomic_write, atomic_folder\n"
            "with atomic_write(Path(sys.argv[1], 'a')) as t:\n"
            "    with atomic_folder(Path(sys.argv[1], 'f')) as f:\n"
            "        (f / 'x').write_text('half'); t.write_text('half'); os.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert done.returncode == -9
        assert len(names(tmp_path)) == 2
        with atomic_write(tmp_path / "b") as temporary:
            temporary.write_text("x")
        assert names(tmp_path) == ["b"]

    def test_living_writers_are_left_alone(self, tmp_path: Path) -> None:
        with atomic_write(tmp_path / "a") as first, atomic_folder(tmp_path / "f") as folder:
            assert remove_leftovers(tmp_path) == 0
            assert first.exists()
            assert folder.exists()

    def test_json_takes_numpy_numbers(self, tmp_path: Path) -> None:
        import numpy as np

        write_json(tmp_path / "a.json", {"n": np.int64(3), "é": np.float32(0.5), "p": tmp_path})
        assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {
            "n": 3,
            "é": 0.5,
            "p": str(tmp_path),
        }


class TestAtomicFolder:
    @pytest.fixture(params=["exchange", "two moves"])
    def way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        if request.param == "two moves":
            monkeypatch.setattr(artifacts, "_exchange", lambda _first, _second: False)
        return str(request.param)

    @pytest.mark.usefixtures("way")
    def test_new_folder_replaces_the_old_one(self, tmp_path: Path) -> None:
        for content in ("one", "two"):
            with atomic_folder(tmp_path / "tables") as folder:
                (folder / "sub").mkdir()
                (folder / "sub" / f"{content}.parquet").write_text(content)
        assert names(tmp_path) == ["tables"]
        assert names(tmp_path / "tables" / "sub") == ["two.parquet"]
        file = tmp_path / "tables" / "sub" / "two.parquet"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    @pytest.mark.usefixtures("way")
    def test_failure_leaves_the_old_folder(self, tmp_path: Path) -> None:
        with atomic_folder(tmp_path / "tables") as folder:
            (folder / "a").write_text("old")

        def write_half() -> None:
            with atomic_folder(tmp_path / "tables") as folder:
                (folder / "a").write_text("half")
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            write_half()
        assert (tmp_path / "tables" / "a").read_text() == "old"
        assert names(tmp_path) == ["tables"]

    def test_swap_cut_between_its_moves_is_undone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(artifacts, "_exchange", lambda _first, _second: False)
        target = tmp_path / "ta[b]les"
        target.mkdir()
        (target / "a").write_text("old")
        artifact = FolderArtifact("t", target, tmp_path)
        state = artifact.state()
        target.rename(tmp_path / f".{target.name}{artifacts.ASIDE_MARK}0123")  # killed here
        assert artifact.state() == state
        assert names(tmp_path) == [target.name]


class TestHashCache:
    NOW = 1_700_000_000_000_000_000

    def cache(self, tmp_path: Path, now: int = NOW) -> HashCache:
        return HashCache(tmp_path / ".vigie" / "hashes.json", tmp_path, clock=lambda: now)

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        seen: list[Path] = []

        def counted(file: Path) -> str:
            seen.append(file)
            return file_sha256(file)

        monkeypatch.setattr(artifacts, "file_sha256", counted)
        return seen

    @staticmethod
    def rest_since(file: Path) -> int:
        return max(file.stat().st_mtime_ns, file.stat().st_ctime_ns)

    def test_file_at_rest_is_read_once_even_by_the_next_process(
        self, tmp_path: Path, reads: list[Path]
    ) -> None:
        file = tmp_path / "a"
        file.write_text("x")
        later = self.rest_since(file) + 2_000_000_000
        first = self.cache(tmp_path, later)
        digest = first.digest(file)
        assert first.digest(file) == digest
        first.save()
        assert self.cache(tmp_path, later).digest(file) == digest
        assert len(reads) == 1

    def test_file_written_just_now_is_not_trusted(self, tmp_path: Path, reads: list[Path]) -> None:
        file = tmp_path / "a"
        file.write_text("x")
        cache = self.cache(tmp_path, self.rest_since(file) + 1_999_999_999)
        cache.digest(file)
        cache.digest(file)
        assert len(reads) == 2

    def test_same_size_and_time_but_other_content_is_noticed(self, tmp_path: Path) -> None:
        file = tmp_path / "a"
        file.write_text("x")
        os.utime(file, ns=(1, 1))
        cache = self.cache(tmp_path, self.rest_since(file) + 10_000_000_000)
        digest = cache.digest(file)
        file.write_text("y")
        os.utime(file, ns=(1, 1))
        assert cache.digest(file) != digest

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[]",
            "null",
            '{"kind": "sha256"}',
            '{"kind": "sha256", "entries": {"a": 1}}',
            "\0\0",
        ],
    )
    def test_broken_cache_counts_as_empty(self, tmp_path: Path, content: str) -> None:
        (tmp_path / ".vigie").mkdir()
        (tmp_path / ".vigie" / "hashes.json").write_text(content)
        (tmp_path / "a").write_text("x")
        cache = self.cache(tmp_path)
        assert cache.digest(tmp_path / "a") == file_sha256(tmp_path / "a")
        cache.save()
        assert self.cache(tmp_path)._read().keys() == {"a"}

    def test_two_processes_do_not_lose_each_others_entries(self, tmp_path: Path) -> None:
        for name in "abc":
            (tmp_path / name).write_text(name)
        one, two = self.cache(tmp_path), self.cache(tmp_path)
        one.digest(tmp_path / "a")
        two.digest(tmp_path / "b")
        two.digest(tmp_path / "c")
        one.save()
        (tmp_path / "c").unlink()
        two.save()
        assert self.cache(tmp_path)._read().keys() == {"a", "b"}

    def test_cache_that_cannot_be_written_is_no_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        (tmp_path / ".vigie").write_text("a file where the folder should be")
        cache = self.cache(tmp_path)
        cache.digest(tmp_path / "a")
        cache.save()


class TestArtifacts:
    def test_file(self, tmp_path: Path) -> None:
        artifact = FileArtifact("model", tmp_path / "models" / "m.pkl", tmp_path)
        assert artifact.describe() == "models/m.pkl"
        assert artifact.state() is None
        with atomic_write(artifact.path) as temporary:
            temporary.write_text("x")
        assert artifact.state() == file_sha256(artifact.path)

    def test_folder_knows_names_and_contents(self, tmp_path: Path) -> None:
        artifact = FolderArtifact("tables", tmp_path / "t", tmp_path, pattern="**/*.parquet")
        assert artifact.describe() == "t/"
        assert artifact.state() is None
        (tmp_path / "t" / "s").mkdir(parents=True)
        assert artifact.state() is None
        (tmp_path / "t" / "s" / "a.parquet").write_text("1")
        states = [artifact.state()]
        (tmp_path / "t" / "b.parquet").write_text("2")
        states.append(artifact.state())
        (tmp_path / "t" / "b.parquet").write_text("3")
        states.append(artifact.state())
        (tmp_path / "t" / "b.parquet").rename(tmp_path / "t" / "c.parquet")
        states.append(artifact.state())
        assert None not in states
        assert len(set(states)) == 4

    def test_what_does_not_count_changes_nothing(self, tmp_path: Path) -> None:
        artifact = FolderArtifact("tables", tmp_path, tmp_path, pattern="**/*.csv")
        (tmp_path / "a.csv").write_text("1")
        state = artifact.state()
        (tmp_path / "notes.txt").write_text("2")
        (tmp_path / f".b{artifacts.TEMPORARY_MARK}00.csv").write_text("half")
        (tmp_path / ".hidden").mkdir()
        (tmp_path / ".hidden" / "c.csv").write_text("half")
        assert artifact.state() == state
