"""What several test folders share: the OULAD declaration, a tiny OULAD, the real one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.faults.tally import pytest_terminal_summary
from tests.tiny_oulad import TinyOulad
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.spec import Dataset

__all__ = ["pytest_terminal_summary"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell starts in the background ignores Ctrl-C, and so would all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def oulad() -> Dataset:
    text, origin = read_declaration("oulad", ROOT)
    return parse_dataset(text, origin)


@pytest.fixture
def tiny_oulad() -> TinyOulad:
    """A few enrolments whose every feature can be worked out by hand."""
    return TinyOulad()


def _real(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real OULAD is not here: no {name} in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def real_oulad() -> Path:
    return _real("oulad")


@pytest.fixture(scope="session")
def real_oulad_mini() -> Path:
    return _real("oulad-mini")
