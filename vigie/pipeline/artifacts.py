"""Files and folders: written whole or not at all, and known by their content.

Whoever writes holds a kernel lock on the temporary file; one whose lock is free was left by a
process that died, and the next writer in that folder clears it away.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.errors import DataError
from vigie.i18n import _
from vigie.pipeline.lock import FlockUnsupported, try_flock

PRIVATE = 0o600
TEMPORARY_MARK = ".vigie-tmp-"
ASIDE_MARK = ".vigie-old-"
RACY_WINDOW_NS = 2_000_000_000
ABANDONED_AFTER_SECONDS = 86_400.0


# --- writing ---------------------------------------------------------------------------------


def mode_by_umask() -> int:
    """Return the permissions of a new file that is for all whom the user's umask lets read."""
    # The mask can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


@contextlib.contextmanager
def atomic_write(path: Path, *, mode: int = PRIVATE, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` when all went well.

    The temporary name ends like the target's, for the libraries that go by the suffix. After any
    exception the target is as it was before.

    Parameters
    ----------
    durable
        Wait for the disk, so that a power cut leaves the old content or the new one. Without, it
        may leave neither; a kill can't.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    temporary, descriptor = _make_temporary(path, folder=False)
    try:
        yield temporary
        temporary.chmod(mode)
        if durable:
            _sync(temporary)
        if os.name == "nt":
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if os.name != "nt":
            os.close(descriptor)
    if durable:
        _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path, *, mode: int = PRIVATE) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it takes the place of `path` when all went well.

    Files in it get `mode`. Whatever happens, either the old or the new folder is there whole
    (where the system cannot exchange two folders in one move, ``recover_folder`` brings the old
    one back after a kill in between).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(path)
    remove_leftovers(path.parent)
    temporary, descriptor = _make_temporary(path, folder=True)
    try:
        yield temporary
        for folder, _folders, files in os.walk(temporary):
            for name in files:
                file = Path(folder, name)
                file.chmod(mode)
                _sync(file)
            _sync_folder(Path(folder))
        _swap_in(temporary, path)
    finally:
        # After the exchange the old content lies here; after a failure, the unfinished one.
        shutil.rmtree(temporary, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)
    _sync_folder(path.parent)


def link_file(source: Path, target: Path) -> None:
    """Give `source` a second name, `target`; a copy where the file system knows no such thing.

    Files are replaced, never written into: neither name's content changes by the other's.
    """
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def write_json(path: Path, value: Any, *, mode: int = PRIVATE, durable: bool = True) -> None:
    """Write `value` as readable JSON, as ``atomic_write`` does."""
    with atomic_write(path, mode=mode, durable=durable) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """Return `value` as ``write_json`` writes it."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=to_json_type) + "\n"


def to_json_type(value: Any) -> Any:
    """Return what JSON can hold for numpy's numbers and arrays, and text for everything else."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def remove_leftovers(folder: Path) -> int:
    """Clear away what writers that died have left in `folder`; return how many things."""
    removed = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if TEMPORARY_MARK in entry.name and _remove_if_abandoned(Path(entry.path)):
                removed += 1
    return removed


def recover_folder(path: Path) -> None:
    """Put the old folder back where a swap was cut between its two moves."""
    for aside in sorted(path.parent.glob(f".{glob.escape(path.name)}{ASIDE_MARK}*")):
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                aside.rename(path)


def _make_temporary(path: Path, *, folder: bool) -> tuple[Path, int]:
    """Return a new temporary path beside `path` and the descriptor that holds its lock."""
    while True:
        token = f"{TEMPORARY_MARK}{secrets.token_hex(4)}"
        temporary = path.with_name(f".{path.stem[:120]}{token}{path.suffix}")
        if folder:
            temporary.mkdir(mode=0o700)
            descriptor = os.open(temporary, os.O_RDONLY) if os.name != "nt" else -1
        else:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE)
        try:
            # A cleaner may come between the making and the locking: then make another.
            if try_flock(descriptor) and temporary.exists():
                return temporary, descriptor
        except FlockUnsupported:
            return temporary, descriptor
        os.close(descriptor)


def _remove_if_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        try:
            abandoned = try_flock(descriptor)
        except FlockUnsupported:
            abandoned = time.time() - os.fstat(descriptor).st_mtime > ABANDONED_AFTER_SECONDS
        if not abandoned:
            return False
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return not path.exists()
    finally:
        os.close(descriptor)


def _swap_in(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
    elif not _exchange(temporary, path):
        aside = path.with_name(f".{path.name}{ASIDE_MARK}{secrets.token_hex(4)}")
        path.rename(aside)
        try:
            temporary.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one move (Linux ``renameat2``); False where the system cannot."""
    import ctypes

    at_working_folder, rename_exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if not renameat2(
        at_working_folder, names[0], at_working_folder, names[1], ctypes.c_uint(rename_exchange)
    ):
        return True
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM}:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Some file systems refuse to sync a folder; the rename itself is whole all the same.
    if os.name != "nt":
        with contextlib.suppress(OSError):
            _sync(folder)


# --- what is known of files without reading them again --------------------------------------


class StatCache:
    """Values computed from files, kept for as long as size, times and inode stay the same.

    An entry is trusted only if the file was at rest for two seconds before it was read: a clock
    of coarse grain could hide a change made right after (git's "racy" problem).

    Parameters
    ----------
    path
        The JSON file that keeps the entries; a broken one counts as empty.
    project
        Entries are named by their path from here.
    kind
        Says how values were computed: entries of another kind are dropped.
    clock
        Nanoseconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        project: Path,
        *,
        kind: str = "sha256",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self.project = project
        self.kind = kind
        self._clock = clock
        self._entries: dict[str, list[Any]] | None = None
        self._fresh: set[str] = set()

    def value(self, file: Path, compute: Callable[[Path], Any]) -> Any:
        """Return ``compute(file)``, or what it gave when the file was the same."""
        if self._entries is None:
            self._entries = self._read()
        key = _relative(file, self.project)
        now = self._clock()
        before = _stat_key(file)
        entry = self._entries.get(key)
        if entry is not None and entry[:4] == before and _at_rest(before, entry[4]):
            return entry[5]
        value = compute(file)
        if _stat_key(file) == before:  # else it changed under our eyes: remember nothing
            self._entries[key] = [*before, now, value]
            self._fresh.add(key)
        return value

    def save(self) -> None:
        """Write what was learnt, beside what another process may have saved meanwhile.

        A cache that cannot be written costs time, never a run: such an error is not raised.
        """
        if not self._fresh or self._entries is None:
            return
        merged = self._read() | {key: self._entries[key] for key in list(self._fresh)}
        kept = {key: entry for key, entry in merged.items() if (self.project / key).exists()}
        with contextlib.suppress(OSError):
            write_json(self.path, {"kind": self.kind, "entries": kept})
            self._fresh.clear()

    def _read(self) -> dict[str, list[Any]]:
        try:
            content = json.loads(self.path.read_bytes())
            if content["kind"] != self.kind:
                return {}
            entries = dict(content["entries"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {key: entry for key, entry in entries.items() if _is_entry(entry)}


class HashCache(StatCache):
    """The sha256 of files' contents."""

    def digest(self, file: Path) -> str:
        """Return the sha256 of the file's content, in hexadecimal."""
        return str(self.value(file, file_sha256))


def file_sha256(file: Path) -> str:
    """Read the whole file and return its sha256 in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stat_key(file: Path) -> list[int]:
    # The change time is here because ``touch -r`` and archives set the modification time back.
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _at_rest(stat_key: list[int], seen_ns: int) -> bool:
    return max(stat_key[1], stat_key[2]) + RACY_WINDOW_NS <= seen_ns


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list) and len(entry) == 6 and all(isinstance(n, int) for n in entry[:5])
    )


def _relative(path: Path, project: Path) -> str:
    try:
        return path.relative_to(project).as_posix()
    except ValueError:
        return path.as_posix()


# --- artifacts -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileArtifact:
    """One file, known by the sha256 of its content.

    Parameters
    ----------
    name
        The name that steps declare.
    path
        Where it is.
    project
        The folder that ``describe`` counts from.
    hashes
        Remembers contents' digests; None reads the file each time.
    """

    name: str
    path: Path
    project: Path
    hashes: HashCache | None = None

    def state(self) -> str | None:
        """Return the content's digest, or None where there is no such file."""
        try:
            return _digest(self.path, self.hashes) if self.path.is_file() else None
        except FileNotFoundError:
            return None

    def describe(self) -> str:
        """Return the path from the project."""
        return _relative(self.path, self.project)


@dataclass(frozen=True, slots=True)
class FolderArtifact:
    """The files of a folder that match `pattern`, known by their names and contents.

    Hidden files (and so whatever an unfinished writer left) do not count. A folder without any
    file that counts does not exist.
    """

    name: str
    path: Path
    project: Path
    pattern: str = "**/*"
    hashes: HashCache | None = None

    def files(self) -> list[Path]:
        """Return the files that count, sorted by their path from the folder."""
        recover_folder(self.path)
        found = (file for file in self.path.glob(self.pattern) if file.is_file())
        names = {file.relative_to(self.path).as_posix(): file for file in found}
        return [file for name, file in sorted(names.items()) if not _is_hidden(name)]

    def state(self) -> str | None:
        """Return a digest over names and contents, or None where no file counts."""
        files = self.files()
        if not files:
            return None
        total = hashlib.sha256()
        for file in files:
            name = file.relative_to(self.path).as_posix()
            total.update(f"{name}\0{_digest(file, self.hashes)}\n".encode())
        return total.hexdigest()

    def describe(self) -> str:
        """Return the path from the project, with a slash at its end."""
        return f"{_relative(self.path, self.project)}/"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _digest(file: Path, hashes: HashCache | None) -> str:
    try:
        return file_sha256(file) if hashes is None else hashes.digest(file)
    except PermissionError as error:
        raise DataError(
            _("The file {name} may not be read.").format(name=file.name),
            where=str(file),
            fix=_("Give yourself the right to read it."),
        ) from error
