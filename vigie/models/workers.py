"""Where models are fitted: in this process, in others beside it, or on a dask cluster.

A model comes out the same everywhere: it hangs on its rows, its parameters and its seed, not on
who fits it. So nothing here is part of a step's fingerprint.

On dask the fits are dask's own futures, not joblib's backend for dask: when a worker is killed
again and again, that backend (joblib 1.5) never hears of it and waits for ever.
"""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from vigie.errors import ClusterError, ClusterUnreachable, SettingsError
from vigie.i18n import _

if TYPE_CHECKING:
    import numpy.typing as npt

    IntArray = npt.NDArray[Any]

CONNECT_SECONDS = 2.0
# A cluster may replace a lost worker; after so long without any it will not.
NO_WORKER_SECONDS = 20.0
POLL_SECONDS = 2.0
# What decides the digits of a score, or whether a model can be read back.
COMPARED = ("numpy", "scipy", "scikit-learn", "joblib", "vigie")
DASK_PORT = 8786
# Values in the matrix, up to which a forest takes parts of a second.
SMALL_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where to fit and with what, by the settings under ``[engine]`` and ``[model]``."""

    joblib: Literal["threads", "loky", "dask"] = "threads"
    threads: int = 1
    dask_scheduler: str | None = None
    accelerated: bool = False

    @property
    def compared(self) -> tuple[str, ...]:
        """The libraries of which workers elsewhere must have our versions."""
        if not self.accelerated:
            return COMPARED
        from vigie.models.accelerate import LIBRARY

        return (*COMPARED, LIBRARY)


@dataclass(frozen=True, slots=True, eq=False)
class FitTask:
    """One fit: a kind of model, its parameters, and the numbers of the rows that it learns from."""

    name: str
    kind: str
    params: Mapping[str, Any]
    rows: IntArray
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted model, which predicts on one thread, and how long the fit took."""

    model: Any
    seconds: float


class Workers(Protocol):
    """Who fits."""

    def fit(
        self,
        tasks: Sequence[FitTask],
        X: npt.NDArray[Any],  # noqa: N803
        labels: npt.NDArray[Any],
    ) -> Iterator[Fitted]:
        """Yield the fitted models in the order of the tasks.

        Parameters
        ----------
        X, labels
            The whole matrix (rows x features) and its outcomes. Give the same objects again for
            the next tasks: workers elsewhere get them once.

        Raises
        ------
        ValueError, TypeError
            The model refuses its parameters or the rows.
        ClusterError
            The workers can't do it.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return for the run's record who fitted."""
        ...


@contextmanager
def open_workers(place: Place) -> Iterator[Workers]:
    """Yield those who fit.

    Raises
    ------
    SettingsError
        dask is asked for and not installed.
    ClusterError
        The cluster can't be reached (after two seconds), has no worker, or has other versions.
    """
    if place.joblib == "dask":
        with _open_dask(str(place.dask_scheduler), place.compared) as workers:
            yield workers
    elif place.joblib == "loky":
        with _open_loky(place.threads) as beside:
            yield beside
    else:
        yield InProcess(place.threads)


def check_workers(place: Place) -> None:
    """Raise what ``open_workers`` would raise, before any work is done in vain."""
    if place.joblib == "dask":
        with open_workers(place):
            pass


@dataclass(frozen=True, slots=True)
class InProcess:
    """One fit after another, each on all threads; small forests side by side, each on one.

    joblib hands out every tree by itself and looks every hundredth of a second whether all are
    there: of small forests (5,000 x 116, 100 trees, 4 fits) that is 0.68 s for 0.59. Of great ones
    it is little, and the last one would keep one core busy alone.
    """

    threads: int

    def fit(
        self,
        tasks: Sequence[FitTask],
        X: npt.NDArray[Any],  # noqa: N803
        labels: npt.NDArray[Any],
    ) -> Iterator[Fitted]:
        """See ``Workers``."""
        from vigie.models.kinds import GROWN_BY_THREAD

        small = X.size <= SMALL_CELLS and all(task.kind in GROWN_BY_THREAD for task in tasks)
        if small and min(self.threads, len(tasks)) > 1:
            yield from self._side_by_side(tasks, X, labels)
            return
        for task in tasks:
            yield _fit(X, labels, task, self.threads)

    def _side_by_side(
        self,
        tasks: Sequence[FitTask],
        X: npt.NDArray[Any],  # noqa: N803
        labels: npt.NDArray[Any],
    ) -> Iterator[Fitted]:
        pool = ThreadPoolExecutor(self.threads)
        try:
            # The greatest first, so that the last to end has little to do alone.
            started = {
                task.name: pool.submit(_fit, X, labels, task, 1)
                for task in sorted(tasks, key=lambda task: -len(task.rows))
            }
            for task in tasks:
                yield started[task.name].result()
        finally:
            # Nobody waits for what has begun, after Ctrl-C least of all.
            pool.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> dict[str, Any]:
        """See ``Workers``."""
        return {"joblib": "threads", "threads": self.threads}


def _fit(
    X: npt.NDArray[Any],  # noqa: N803
    labels: npt.NDArray[Any],
    task: FitTask,
    threads: int,
) -> Fitted:
    """Fit, wherever this runs."""
    from vigie.models.kinds import fit_kind

    started = time.perf_counter()
    model = fit_kind(
        task.kind,
        task.params,
        X[task.rows],
        labels[task.rows],
        seed=task.seed,
        threads=threads,
    )
    return Fitted(model, time.perf_counter() - started)


# --- processes of this machine -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LokyWorkers:
    """Processes beside this one, one fit each at a time; the matrix is mapped, not copied."""

    processes: int

    def fit(
        self,
        tasks: Sequence[FitTask],
        X: npt.NDArray[Any],  # noqa: N803
        labels: npt.NDArray[Any],
    ) -> Iterator[Fitted]:
        """See ``Workers``."""
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

        parallel = Parallel(n_jobs=self.processes, backend="loky", return_as="generator")
        try:
            yield from parallel(delayed(_fit)(X, labels, task, 1) for task in tasks)
        except BrokenProcessPool as error:
            raise ClusterError(
                _("A process that fitted a model died."),
                where="engine.joblib",
                fix=_("It may have lacked memory: lower engine.threads, or leave joblib out."),
            ) from error

    def describe(self) -> dict[str, Any]:
        """See ``Workers``."""
        return {"joblib": "loky", "processes": self.processes}


@contextmanager
def _open_loky(processes: int) -> Iterator[LokyWorkers]:
    from joblib.externals.loky import get_reusable_executor

    try:
        yield LokyWorkers(processes)
    finally:
        # They would stay for minutes, in case somebody had more to do.
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


# --- a dask cluster ----------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class DaskWorkers:
    """The workers of a cluster; each matrix is sent to them once."""

    client: Any
    address: str
    _sent: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    def fit(
        self,
        tasks: Sequence[FitTask],
        X: npt.NDArray[Any],  # noqa: N803
        labels: npt.NDArray[Any],
    ) -> Iterator[Fitted]:
        """See ``Workers``."""
        futures: list[Any] = []
        try:
            matrix, outcomes = self._send(X), self._send(labels)
            futures = [
                self.client.submit(_fit, matrix, outcomes, task, 1, pure=False) for task in tasks
            ]
            for task, future in zip(tasks, futures, strict=True):
                yield self._result(task, future)
        except OSError as error:
            raise self._lost() from error
        finally:
            # What nobody waits for any more would keep the workers busy.
            if self.client.status == "running":
                self.client.cancel(futures)

    def describe(self) -> dict[str, Any]:
        """See ``Workers``."""
        cores = self.client.ncores()
        return {
            "joblib": "dask",
            "scheduler": self.address,
            "workers": len(cores),
            "threads": sum(cores.values()),
        }

    def _send(self, array: Any) -> Any:
        # The array is kept beside its future: its id must not become another one's.
        if id(array) not in self._sent:
            future = self.client.scatter(array, broadcast=True, hash=False)
            self._sent[id(array)] = (array, future)
        return self._sent[id(array)][1]

    def _result(self, task: FitTask, future: Any) -> Fitted:
        import asyncio
        import concurrent.futures

        from distributed.scheduler import KilledWorker

        seen = time.monotonic()
        while True:
            try:
                found: Fitted = future.result(timeout=POLL_SECONDS)
            except KilledWorker as error:
                raise ClusterError(
                    _("Worker after worker died while fitting the model {name!r}.").format(
                        name=task.name
                    ),
                    where=self.address,
                    fix=_("See their logs; they may lack memory. Give them more, or fit here."),
                ) from error
            except TimeoutError as error:
                if self.client.status != "running":
                    raise self._lost() from error
                if self.client.ncores():
                    seen = time.monotonic()
                elif time.monotonic() - seen > NO_WORKER_SECONDS:
                    raise self._lost() from error
            except (asyncio.CancelledError, concurrent.futures.CancelledError) as error:
                raise self._lost() from error
            else:
                return found

    def _lost(self) -> ClusterUnreachable:
        return ClusterUnreachable(
            _("The dask cluster went away while models were fitted."),
            where=self.address,
            fix=_("See that scheduler and workers run, then run the same command again."),
        )


@contextmanager
def _open_dask(address: str, compared: Sequence[str]) -> Iterator[DaskWorkers]:
    _knock(address)
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingsError(
            _("dask is not installed."),
            where="engine.joblib",
            fix=_("Install it: {command}").format(command='pip install "vigie[dask]"'),
        ) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="vigie")
    except (OSError, TimeoutError, ValueError) as error:
        raise _unreachable(address, error) from error
    try:
        _check_versions(client, address, compared)
        yield DaskWorkers(client, address)
    finally:
        client.close(timeout=CONNECT_SECONDS)


def _knock(address: str) -> None:
    """Find out that nobody is there without importing dask, which takes longer than that."""
    parts = urlsplit(address)
    try:
        target = (parts.hostname or "", parts.port or DASK_PORT)
        with socket.create_connection(target, timeout=CONNECT_SECONDS):
            pass
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ClusterUnreachable:
    return ClusterUnreachable(
        _("No dask scheduler answers: {reason}").format(
            reason=next(iter(str(error).splitlines()), type(error).__name__)
        ),
        where=f"engine.dask_scheduler = {address}",
        fix=_("Start it, mend the address, or take dask out of engine.joblib."),
    )


def _check_versions(client: Any, address: str, compared: Sequence[str]) -> None:
    """Refuse workers with other versions than ours: other scores, or models we can't read."""
    found = client.get_versions(packages=list(compared))
    if not found["workers"]:
        raise ClusterUnreachable(
            _("The dask cluster has no worker."),
            where=f"engine.dask_scheduler = {address}",
            fix=_("Start one on a machine with the same versions: {command}").format(
                command=f"dask worker {address}"
            ),
        )
    ours = {"python": platform.python_version(), **_ours(compared)}
    lines = [
        _("{worker}: {name} {theirs}, here {ours}").format(
            worker=worker, name=name, theirs=theirs, ours=ours[name]
        )
        for worker, versions in found["workers"].items()
        for name, theirs in _theirs(versions, compared).items()
        if theirs != ours[name]
    ]
    if lines:
        raise ClusterError(
            _("The workers of the dask cluster have other versions than this process."),
            where="\n".join(lines),
            fix=_("Install the same on both sides: scores would differ, or not come at all."),
        )


def _ours(compared: Sequence[str]) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in compared}


def _theirs(versions: Any, compared: Sequence[str]) -> dict[str, str]:
    """Return a worker's versions; it may have answered with anything, or not at all."""
    if not isinstance(versions, Mapping):
        return {"python": _("unknown")}
    packages = versions["packages"]
    python = ".".join(str(packages.get("python") or _("none")).split(".")[:3])
    return {"python": python} | {name: str(packages.get(name) or _("none")) for name in compared}
