"""What a run works with beside its data: the database, Spark, threads, memory, workers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.paths import ProjectPaths
from vigie.pipeline.helper import Helper
from vigie.pipeline.import_ahead import import_all
from vigie.pipeline.interrupt import Beside
from vigie.settings import LoadedSettings
from vigie.spark.session import SparkOptions

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from vigie.data.address import DatabaseAddress
    from vigie.models.workers import Place


@dataclass(slots=True)
class Resources:
    """Opens what is asked for, once, and leaves it to an ``ExitStack`` to close it.

    Parameters
    ----------
    databases, held
        Close the database and all else at the end of the run; None where none may be opened.
    lender
        Has Spark for us: of two sessions of one process only the first can.
    opened
        Where the database is, once it was asked for.
    """

    settings: LoadedSettings
    paths: ProjectPaths
    databases: ExitStack | None = None
    held: ExitStack | None = None
    lender: Resources | None = None
    opened: DatabaseAddress | None = None
    helper: Helper | None = None
    _opening: _Opening | None = None
    _spark: Any = None

    def address(self) -> DatabaseAddress:
        """Open the database when it is first asked for, and hold it to the end of the run.

        Raises
        ------
        DatabaseError
            When no server answers, or the embedded one doesn't start.
        """
        if self.opened is None:
            self.opened = self._open().address()
        return self.opened

    def begin_database(self) -> None:
        """Open the database before a step needs it.

        One of people's own is waited for: where it doesn't answer, nothing may begin. The embedded
        one starts beside the first steps; if it doesn't, the load will say so, and what was done
        until then is kept.

        Raises
        ------
        DatabaseError
            When no server answers.
        """
        if self.settings.database_configured or self.threads() == 1:
            self.address()
        else:
            # Here: the thread that opens it and the load, which come to them at the same time,
            # could see each other's half-made modules.
            for module in ("psutil", "psycopg"):
                importlib.import_module(module)
            self._open()

    def begin_to_close_database(self) -> None:
        """Close the database while the rest goes on that doesn't need it any more."""
        if self._opening is not None:
            self._opening.begin_to_close()

    def _open(self) -> _Opening:
        from vigie.data.load import open_database

        if self._opening is None:
            assert self.databases is not None
            self._opening = _Opening(open_database(self.settings))
            self.databases.callback(self._opening.close)
        return self._opening

    def begin_helper(self, libraries: Sequence[str]) -> None:
        """Start a process that draws and writes pages, where there is a core for it."""
        if self.threads() > 1 and self.helper is None:
            assert self.held is not None
            self.helper = Helper(libraries)
            self.held.callback(self.helper.close)

    def prepare_helper(self, modules: Sequence[str], language: str) -> None:
        """Let the helper, if there is one, import what it will carry out, and read the pages."""
        from vigie.report.page import prepare_pages

        if self.helper is not None:
            self.helper.prepare(import_all, modules)
            self.helper.prepare(prepare_pages, language)

    @property
    def spark_if_engine(self) -> Callable[[], Any] | None:
        """What opens Spark; None where it isn't the engine."""
        return self.spark if self.settings.get("engine.name") == "spark" else None

    def spark(self) -> Any:
        """Open Spark when it is first asked for, and hold it to the end of the run."""
        from vigie.spark.session import open_spark

        if self._spark is None:
            if self.lender is not None:
                return self.lender.spark()
            assert self.held is not None
            self._spark = self.held.enter_context(open_spark(self.spark_options()))
        return self._spark

    def spark_options(self) -> SparkOptions:
        """Return where Spark is, and what it may use here."""
        return SparkOptions(
            master=self.settings.get("engine.spark_master"),
            threads=self.threads(),
            memory=self.memory_limit(),
            log=self.paths.spark_log,
            scratch=self.paths.state / "spill",
        )

    def threads(self) -> int:
        """Return how many threads a step may use."""
        return self.settings.get("engine.threads") or os.cpu_count() or 1

    def memory_limit(self) -> str:
        """Return what the engine may use, in DuckDB's form."""
        from vigie.memory import default_engine_bytes

        limit: str | None = self.settings.get("engine.memory_limit")
        return limit or f"{default_engine_bytes() // 10**6}MB"

    def place(self) -> Place:
        """Return where models are fitted."""
        from vigie.models.workers import Place

        return Place(
            self.settings.get("engine.joblib"),
            self.threads(),
            self.settings.get("engine.dask_scheduler"),
            accelerated=self.settings.get("model.accelerated"),
        )

    def refuse_bad_workers(self) -> None:
        """Look for the workers before the first step: what comes before training takes long.

        Raises
        ------
        SettingsError
            When they don't answer, or lack what fits a model.
        """
        from vigie.models.workers import check_workers

        if self.settings.get("model.accelerated"):
            from vigie.models.accelerate import check_installed

            check_installed()
        check_workers(self.place())


class _Opening:
    """A database that is opened, and later closed, beside other work.

    Parameters
    ----------
    database
        Gives its address when it is entered, and closes it when it is left.
    """

    def __init__(self, database: AbstractContextManager[DatabaseAddress]) -> None:
        self._database = database
        self._opening = Beside(database.__enter__)
        self._closing: Beside[None] | None = None

    def address(self) -> DatabaseAddress:
        """Wait for it; raise what opening it raised."""
        return self._opening.result()

    def begin_to_close(self) -> None:
        """Close what was opened; nobody may ask for its address any more."""
        if self._closing is None:
            self._closing = Beside(self._leave)

    def close(self) -> None:
        """Close what was opened, also where nobody asked for it, and wait for the end of that.

        One that is still being opened is given up: a recovery after a crash may take minutes.
        """
        self._opening.stop()
        self.begin_to_close()
        assert self._closing is not None
        self._closing.result()

    def _leave(self) -> None:
        try:
            self._opening.result()
        except BaseException:
            # There is nothing to close; whoever asked for the address was told.
            return
        self._database.__exit__(None, None, None)
