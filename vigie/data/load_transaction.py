"""The transaction that a load happens in, how it is laid out, and where it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vigie.data.load_catalog import OutsideKey
from vigie.data.load_interrupt import Interrupt
from vigie.data.load_plan import fit_name

Progress = Callable[[str, float], None]


@dataclass(slots=True)
class Watch:
    """Where a load is: for the progress bar, for the report, and for the words of an error."""

    progress: Progress | None = None
    interrupt: Interrupt = field(default_factory=Interrupt)
    clock: Callable[[], float] = time.perf_counter
    doing: str = ""
    share: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, doing: str) -> Iterator[None]:
        """Count the seconds of the block under `name`."""
        self.doing = doing
        started = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - started

    def advance(self, share: float) -> None:
        """Show that this share more of the whole work is done; stop here where asked to."""
        self.interrupt.check()
        self.share = min(1.0, self.share + share)
        if self.progress is not None:
            self.progress(self.doing, self.share)


@dataclass(slots=True)
class Transaction:
    """A psycopg connection inside its transaction, and the schema that it works on."""

    connection: Any
    schema: str
    record: str
    watch: Watch

    def execute(self, *statements: str) -> None:
        """Run statements, one by one (the protocol takes one at a time)."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                self.watch.interrupt.check()
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        self.watch.interrupt.check()
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


@dataclass(slots=True)
class Layout:
    """Under which names the load works, and what is to be done when the rows are in."""

    strategy: str
    prefix: str
    replaced: tuple[str, ...] = ()
    objects: frozenset[str] = frozenset()
    kept_keys: frozenset[str] = frozenset()
    outside_keys: tuple[OutsideKey, ...] = ()

    def at(self, name: str) -> str:
        """Return the name under which the table or index is built."""
        return fit_name(f"{self.prefix}{name}") if self.prefix else name
