"""A second process for what would keep this one's interpreter busy.

Python runs one thread at a time: a figure that is drawn in a thread keeps all others waiting, and
so does the import of what draws it. The helper is a convenience: where it doesn't start, or ends
for whatever reason, its work is done here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from threading import Lock
from typing import IO, Any, ParamSpec, TypeVar

from vigie.pipeline.import_ahead import import_all
from vigie.pipeline.interrupt import heed

P = ParamSpec("P")
T = TypeVar("T")

_ITEM, _END, _FAILED = "item", "end", "failed"


class _GoneError(Exception):
    """The helper can't do it (internal signal)."""


class Helper:
    """Carries out functions of modules, one after another; ends with this process.

    Parameters
    ----------
    modules
        What it imports at once, before it is asked for anything.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._closed = False
        self._asking = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # The same modules are found as here, and none that lies in the present folder by chance.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from {__name__} import serve; serve({list(modules)!r})"
        )
        # TypeError: a program that Python is built into knows no name of its own.
        with contextlib.suppress(OSError, TypeError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is for us; the helper ends when its input does, whatever becomes of us.
                start_new_session=True,
            )

    @property
    def is_there(self) -> bool:
        """Whether it carries out what it is asked for; else it is done here."""
        return self._process is not None

    def each(
        self, function: Callable[P, Iterator[T]], *arguments: P.args, **named: P.kwargs
    ) -> Generator[T]:
        """Yield what `function` yields, carried out by the helper, or here where that fails.

        Parameters
        ----------
        function
            Of a module; yields the same each time that it is given the same. It, what it is given
            and what it yields can be pickled.

        Whoever does not take all of it closes it: nobody else is answered until then.

        Raises
        ------
        KeyboardInterrupt
            When the helper was closed meanwhile: the run is ending.
        """
        given, whole = 0, False
        heed(self.close)
        with self._asking:
            try:
                for item in self._answers((True, function, arguments, named)):
                    yield item
                    given += 1
                whole = True
            except _GoneError:
                pass
            finally:
                if not whole:
                    # What it may still say would be taken for the next answer.
                    self._end()
        if whole:
            return
        if self._closed:
            raise KeyboardInterrupt
        yield from islice(function(*arguments, **named), given, None)

    def _answers(self, request: tuple[Any, ...]) -> Iterator[Any]:
        process = self._process
        if process is None:
            raise _GoneError
        assert process.stdout is not None
        try:
            _send(process.stdin, request)
        except Exception as error:
            # It is gone, or something of the request can't be pickled: each type says so otherwise.
            raise _GoneError from error
        while True:
            try:
                kind, value = pickle.load(process.stdout)  # noqa: S301 - our own process
            except Exception as error:
                raise _GoneError from error
            if kind == _FAILED:
                raise _GoneError
            if kind == _END:
                return
            yield value

    def prepare(self, function: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """Let the helper carry out what makes later requests quicker; nobody waits for it."""
        process = self._process
        if process is not None:
            with self._asking, contextlib.suppress(Exception):
                _send(process.stdin, (False, function, arguments, named))

    def close(self) -> None:
        """End it, whatever it is doing: it keeps nothing that could be lost."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            # What was not sent yet is of no use to anybody.
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def carried_out(
    helper: Helper | None,
    function: Callable[P, Generator[T]],
    *arguments: P.args,
    **named: P.kwargs,
) -> Generator[T]:
    """Return what `function` yields, carried out by the helper where there is one."""
    if helper is None:
        return function(*arguments, **named)
    return helper.each(function, *arguments, **named)


def _send(pipe: IO[bytes] | None, message: tuple[Any, ...]) -> None:
    assert pipe is not None
    # Whole or not at all: half a message would be taken for the beginning of the next one.
    pipe.write(pickle.dumps(message))
    pipe.flush()


def serve(modules: Sequence[str]) -> None:
    """Carry out what comes on standard input, until nothing more can come."""
    # It makes little, and does not live long.
    gc.disable()
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not get among the answers.
    os.dup2(2, 1)
    import_all(modules)

    # EOFError and OSError: who asked is gone.
    with contextlib.suppress(EOFError, OSError):
        while True:
            wanted, function, arguments, named = pickle.load(sys.stdin.buffer)  # noqa: S301
            if not wanted:
                with contextlib.suppress(Exception):
                    function(*arguments, **named)
                continue
            try:
                for item in function(*arguments, **named):
                    _send(answers, (_ITEM, item))
                _send(answers, (_END, None))
            except Exception:
                _send(answers, (_FAILED, None))
