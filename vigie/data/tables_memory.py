"""What loaded tables are known by while the embedded server sleeps.

Starting it only to ask takes longer than everything else that a run does which finds nothing to
do. Whatever changes a database takes a transaction number, and a server that is shut down in order
leaves the next free one in its control file. While that is the one at which the tables were looked
at, nobody has changed anything since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vigie.errors import VigieError
from vigie.pipeline.artifacts import write_json

if TYPE_CHECKING:
    from vigie.data.postgres import EmbeddedServer
    from vigie.paths import ProjectPaths
    from vigie.settings import LoadedSettings

# Read in one snapshot with the tables. Where any transaction is under way that may yet change
# something, the first number is below the second, or the second one is taken.
NUMBER_SQL = (
    "SELECT system_identifier, pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
    " FROM pg_control_system(), pg_current_snapshot() s"
)
_IDENTITY, _STATE, _NEXT = (
    "Database system identifier",
    "Database cluster state",
    "Latest checkpoint's NextXID",
)


@dataclass(slots=True)
class TablesMemory:
    """The states of tables, and the transaction number at which they were read.

    Parameters
    ----------
    path
        The file that keeps them.
    server
        The embedded server that has the tables.
    """

    path: Path
    server: EmbeddedServer
    # By the control file's size and time: a server that starts writes it.
    _at_rest: tuple[tuple[int, ...], str | None] | None = field(default=None, init=False)

    def recall(self, schema: str, record: str) -> tuple[str | None] | None:
        """Return the state that the server would tell if it ran; None where that isn't known."""
        if self.server.cluster.version() is None:
            # No server is needed to know that there is nothing.
            return (None,)
        number, states = self._content()
        name = _name(schema, record)
        if name not in states or number != self._number_at_rest():
            return None
        return (states[name],)

    def names(self) -> list[tuple[str, str]]:
        """Return schema and record of all that is kept."""
        _number, states = self._content()
        return [(name.rpartition(".")[0], name.rpartition(".")[2]) for name in states]

    def keep(self, number: str, states: Iterable[tuple[str, str, str | None]]) -> None:
        """Keep `states` (schema, record, state), all read at `number`, in place of the old ones."""
        found = {_name(schema, record): state for schema, record, state in states}
        write_json(self.path, {"number": number, "states": found})

    def _content(self) -> tuple[str, Mapping[str, str | None]]:
        try:
            content = json.loads(self.path.read_text("utf-8"))
            return str(content["number"]), dict(content["states"])
        except (OSError, ValueError, KeyError, TypeError):
            # Whatever is there, the server knows better.
            return "", {}

    def _number_at_rest(self) -> str | None:
        """Return identity and next transaction of a cluster that was shut down in order."""
        try:
            stat = (self.server.data_dir / "global" / "pg_control").stat()
        except OSError:
            return None
        key = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        if self._at_rest is None or self._at_rest[0] != key:
            self._at_rest = (key, self._read_control_file())
        return self._at_rest[1]

    def _read_control_file(self) -> str | None:
        try:
            done = self.server.cluster.run_program(
                "pg_controldata", "-D", str(self.server.data_dir)
            )
        except (OSError, VigieError):
            return None
        said = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
        if done.returncode or said.get(_STATE, "").strip() != "shut down":
            return None
        try:
            epoch, number = said[_NEXT].strip().split(":")
            return number_text(said[_IDENTITY].strip(), (int(epoch) << 32) + int(number))
        except (KeyError, ValueError):
            return None


def memory_of(settings: LoadedSettings, paths: ProjectPaths) -> TablesMemory | None:
    """Return the memory of a project's tables; None where the server isn't the embedded one."""
    if settings.database_configured:
        return None
    from vigie.data.postgres import EmbeddedServer

    return TablesMemory(paths.state / "tables.json", EmbeddedServer(paths.postgres))


def number_text(identity: object, number: int) -> str:
    """Return a cluster's identity and a transaction number in it as one text."""
    return f"{identity}:{number}"


def _name(schema: str, record: str) -> str:
    return f"{schema}.{record}"
