"""A second process: it does the work, and whatever becomes of it the work is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from vigie.i18n import use_language
from vigie.pipeline.helper import Helper
from vigie.pipeline.interrupt import Beside

ROOT = Path(__file__).parents[3]
SECONDS = 20


def who(count: int) -> Iterator[tuple[int, int]]:
    """Yield numbers, and which process counts."""
    for number in range(count):
        yield number, os.getpid()


def failing_elsewhere(parent: int) -> Iterator[int]:
    yield 1
    if os.getpid() != parent:
        raise RuntimeError("only here")
    yield 2


def failing() -> Iterator[int]:
    yield 1
    raise ValueError("anywhere")


def dying(parent: int) -> Iterator[int]:
    for number in range(5):
        if number == 3 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        yield number


def talking() -> Iterator[str]:
    print("a library says something")
    os.write(1, b"and so does another")
    yield "answer"


def has_modules(*names: str) -> Iterator[bool]:
    yield all(name in sys.modules for name in names)


def set_language(language: str) -> None:
    use_language(language)


def words() -> Iterator[str]:
    from vigie.i18n import _

    yield _("not at risk")


def asleep(file: str) -> Iterator[int]:
    Path(file).write_text(str(os.getpid()), "utf-8")
    time.sleep(SECONDS)
    yield 1


@pytest.fixture
def helper() -> Iterator[Helper]:
    made = Helper([])
    yield made
    made.close()


def test_another_process_does_it(helper):
    found = list(helper.each(who, 3))
    assert [number for number, _pid in found] == [0, 1, 2]
    assert {pid for _number, pid in found} == {helper._process.pid} != {os.getpid()}


def test_one_request_after_another(helper):
    assert [list(helper.each(who, count))[-1][0] for count in (4, 2, 7)] == [3, 1, 6]


@pytest.mark.parametrize("work", [failing_elsewhere, dying])
def test_what_it_could_not_do_is_done_here_and_nothing_twice(helper, work):
    expected = list(work(os.getpid()))
    assert list(helper.each(work, os.getpid())) == expected
    assert not helper.is_there
    # And all that is asked later.
    assert {pid for _number, pid in helper.each(who, 2)} == {os.getpid()}


def test_a_failure_that_it_shares_is_ours(helper):
    asked = helper.each(failing)
    assert next(asked) == 1
    with pytest.raises(ValueError, match="anywhere"):
        next(asked)


def values(mapping: Mapping[str, int]) -> Iterator[int]:
    yield from mapping.values()


def test_what_cannot_be_sent_is_done_here(helper):
    def local(value: Callable[[], int]) -> Iterator[int]:
        yield value()

    assert list(helper.each(local, lambda: 7)) == [7]
    assert list(helper.each(values, MappingProxyType({"a": 8}))) == [8]


def test_whoever_is_asked_to_stop_hears_it_while_the_helper_works(helper, tmp_path):
    heard: list[str] = []

    def work() -> None:
        try:
            list(helper.each(asleep, str(tmp_path / "begun")))
        except KeyboardInterrupt:
            heard.append("stopped")

    beside = Beside(work)
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    began = time.monotonic()
    beside.stop()
    assert not beside.is_running
    assert heard == ["stopped"]
    assert time.monotonic() - began < SECONDS / 2


def test_what_libraries_print_is_no_answer(helper):
    assert list(helper.each(talking)) == ["answer"]
    assert next(iter(helper.each(who, 1)))[1] != os.getpid()


def test_half_an_answer_is_not_taken_for_the_next_one(helper):
    asked = helper.each(who, 5)
    next(asked)
    asked.close()
    assert list(helper.each(talking)) == ["answer"]


def test_it_has_imported_what_it_was_given_and_done_what_it_was_told_before():
    helper = Helper(["wave", "no_such_module_at_all"])
    try:
        helper.prepare(set_language, "fr")
        helper.prepare(failing_elsewhere)
        assert list(helper.each(has_modules, "wave")) == [True]
        assert list(helper.each(words)) == ["pas à risque"]
        assert helper.is_there
    finally:
        helper.close()


def test_closed_in_the_middle_the_run_is_ending(helper):
    asked = helper.each(who, 3)
    next(asked)
    helper.close()
    with pytest.raises(KeyboardInterrupt):
        list(asked)
    helper.close()


def test_where_no_process_can_be_made_the_work_is_done_here(monkeypatch):
    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    helper = Helper([])
    helper.prepare(set_language, "fr")
    assert list(helper.each(who, 1)) == [(0, os.getpid())]
    helper.close()


def test_it_ends_with_a_process_that_is_killed(tmp_path):
    """Both while it waits, and as soon as it has done what nobody hears of any more."""
    code = (
        "import sys, time; from vigie.pipeline.helper import Helper;"
        "helper = Helper([]); print(helper._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(SECONDS)


def test_nothing_of_the_present_folder_is_taken_for_a_library(tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    helper = Helper([])
    try:
        assert next(iter(helper.each(who, 1)))[1] != os.getpid()
    finally:
        helper.close()
