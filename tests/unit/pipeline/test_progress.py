"""What a progress line says, and what it doesn't know yet."""

from __future__ import annotations

import time

import pytest

from vigie.pipeline.progress import PlainLines, Work


def lines_of(work: Work, *done: float) -> list[str]:
    said: list[str] = []
    lines = PlainLines(said.append, work)
    for share in done:
        lines.next_line = 0
        lines.advance_to(share)
    return said


def test_share_rate_and_time_left_at_the_pace_so_far() -> None:
    (said,) = lines_of(Work("reading", 1.0, started=time.monotonic() - 20), 0.25)
    assert said == "   … reading: 25%, 1.2 %/s, 60 s left"


def test_what_came_before_the_first_piece_is_no_measure_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    work = Work("generating", 1.0, started=0.0)
    # 100 seconds of preparation, then a tenth in each second.
    work.is_at(0.1)
    now = 101.0
    (said,) = lines_of(work, 0.2)
    assert said.endswith(", 8 s left")


@pytest.mark.parametrize("done", [0.0, 1e-9, 0.009])
def test_from_the_first_hundredth_nothing_follows(done: float) -> None:
    (said,) = lines_of(Work("reading", 1.0, started=time.monotonic() - 20), done)
    assert "left" not in said
    assert said.startswith(f"   … reading: {done:.0%}")


def test_without_a_total_nothing_is_said() -> None:
    assert lines_of(Work("reading", None), 0.5) == []
