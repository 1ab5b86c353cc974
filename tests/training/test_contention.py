"""A run says once that other programs take the processor."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from darts.training.contention import SECONDS, ContentionWatch, waiting_seconds


def warnings(waited: Sequence[float | None], passive: bool = False) -> list[str | None]:
    """Return what is said at the end of each minute, after the given seconds of waiting."""
    minutes = range(len(waited))
    clock, waiting = iter([SECONDS * n for n in minutes]), iter(waited)
    watch = ContentionWatch(
        passive=passive, waiting=lambda: next(waiting), clock=lambda: next(clock)
    )
    return [watch.warning() for _ in minutes[1:]]


def test_a_run_that_has_the_processor_says_nothing() -> None:
    assert warnings([0.0, 1.0, 2.5, 3.0]) == [None] * 3


def test_a_run_that_waits_says_so_once_with_a_remedy() -> None:
    first, second, third = warnings([0.0, 0.5, 45.5, 100.0])
    assert first is None
    assert second is not None
    assert "75%" in second
    assert "OMP_WAIT_POLICY=PASSIVE" in second
    assert third is None


def test_the_remedy_is_not_what_the_run_does_already() -> None:
    (line,) = warnings([0.0, 50.0], passive=True)
    assert line is not None
    assert "PASSIVE" not in line


def test_less_than_a_minute_is_too_short() -> None:
    times = iter([0.0, SECONDS - 1])
    watch = ContentionWatch(passive=False, waiting=lambda: 99.0, clock=lambda: next(times))
    assert watch.warning() is None


def test_systems_without_this_number_are_not_watched() -> None:
    assert warnings([None, 50.0]) == [None]


@pytest.mark.skipif(waiting_seconds() is None, reason="needs schedstat")
def test_the_waiting_time_of_this_process_grows() -> None:
    before, after = waiting_seconds(), waiting_seconds()
    assert before is not None
    assert after is not None
    assert 0 <= before <= after
