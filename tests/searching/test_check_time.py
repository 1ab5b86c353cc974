"""The pacer of collapse checks: its budget, its extrapolation, and signals."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_search import make_searcher

import darts.searching.check_time as module
from darts.config import SearchConfig, compose
from darts.searching.check_time import CheckInterrupted, CheckPacer, Poll, has_budget
from darts.training.distributed import Ranks


class Clock:
    """A clock that advances only when a test spends time."""

    now = 0.0

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Work:
    """A measurement of ten parts of one second each, after a preparation of two seconds."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.parts = clock, 0

    def __call__(self, poll: Poll) -> str:
        self.clock.spend(2.0)
        for done in range(10):
            poll(done, 10)
            self.parts += 1
            self.clock.spend(1.0)
        return "done"


def test_without_a_budget_everything_is_measured(clock: Clock) -> None:
    pacer = CheckPacer(Ranks())
    assert pacer.measure("x", Work(clock), steps=10**9) == "done"
    assert pacer.skipped == []
    assert pacer.notice() is None


def test_a_first_measurement_needs_the_time_of_its_steps(clock: Clock) -> None:
    pacer = CheckPacer(Ranks(), seconds_left=lambda: 19.0, step_seconds=lambda: 2.0)
    work = Work(clock)
    assert pacer.measure("x", work, steps=10) is None
    assert (work.parts, pacer.skipped) == (0, ["x"])
    assert pacer.measure("x", work, steps=9) == "done"


def test_a_long_measurement_ends_and_then_needs_twice_its_time(clock: Clock) -> None:
    left = [5.0]
    pacer = CheckPacer(Ranks(), seconds_left=lambda: left[0])
    work = Work(clock)
    assert pacer.measure("x", work, steps=1) is None
    assert (work.parts, clock.now) == (3, 5.0)
    assert pacer.skipped_seconds == 7 * 1.0
    left[0] = 9.0
    assert pacer.measure("x", work, steps=1) is None
    assert clock.now == 5.0
    left[0] = 12.5
    assert pacer.measure("x", work, steps=1) == "done"
    left[0] = 11.0  # less than it took
    assert pacer.measure("x", work, steps=1) is None
    assert pacer.measure("y", Work(clock), steps=0) is None
    assert pacer.skipped == ["x", "x", "x", "y"]


def test_a_measurement_has_at_least_one_part(clock: Clock) -> None:
    pacer = CheckPacer(Ranks(), seconds_left=lambda: 0.0)
    work = Work(clock)
    pacer.measure("x", work, steps=0)
    assert work.parts == 1


def test_a_dry_run_starts_everything(clock: Clock) -> None:
    pacer = CheckPacer(Ranks(), seconds_left=lambda: 4.0, dry=True)
    for _ in range(2):
        pacer.measure("x", Work(clock), steps=1)
    assert pacer.skipped_seconds == 2 * 8
    assert pacer.notice() is None


def test_a_signal_ends_a_measurement(clock: Clock) -> None:
    pacer = CheckPacer(Ranks())
    shown: list[str] = []
    pacer.show = shown.append
    work = Work(clock)
    pacer.interrupted = lambda: work.parts == 4
    with pytest.raises(CheckInterrupted):
        pacer.measure("x", work, steps=1)
    assert shown[:2] == ["collapse check: x", "collapse check: x, part 1 of at most 10"]
    assert shown[-1] == ""


def test_skipped_measurements_are_mentioned_once(clock: Clock) -> None:
    pacer = CheckPacer(Ranks(), seconds_left=lambda: -1.0)
    pacer.measure("x", Work(clock), steps=1)
    assert "leave out x" in str(pacer.notice())
    assert pacer.notice() is None


def test_the_budget_is_a_share_of_the_time_of_the_run() -> None:
    seconds = {"training": 80.0, "validation": 20.0, "collapse": 3.0}
    run: Any = SimpleNamespace(ranks=Ranks(), phase_seconds=lambda: dict(seconds))
    config: SearchConfig = compose("search", ["collapse.time_share=0.1"])
    left = CheckPacer.of_search(config, run, lambda: 40, total_steps=100)
    assert left._seconds_left() == pytest.approx(0.1 * 103 - 3)
    assert left._step_seconds() == 2.0
    config.collapse.action = "rollback"
    unlimited = CheckPacer.of_search(config, run, lambda: 40, total_steps=100)
    assert unlimited._seconds_left() == math.inf


@pytest.mark.parametrize(
    ("overrides", "measured"),
    [((), False), (("collapse.time_share=0.2",), True), (("collapse.action=stop",), True)],
)
def test_a_dry_run_measures_no_eigenvalue_that_the_run_has_no_time_for(
    clock: Clock, overrides: tuple[str, ...], measured: bool
) -> None:
    """Ten steps exceed twice 5 % of 50 steps, but not twice 20 %."""
    config: SearchConfig = compose("search", ["dry_run=true", *overrides])
    run: Any = SimpleNamespace(ranks=Ranks())
    pacer = CheckPacer.of_search(config, run, lambda: 0, total_steps=50)
    work = Work(clock)
    pacer.measure("eigenvalue", work, steps=10)
    assert (work.parts > 0) == measured
    assert pacer.measure("path score", Work(clock), steps=1) is None
    assert pacer.skipped_seconds > 0


@pytest.mark.parametrize(
    ("overrides", "limited"),
    [
        ((), True),
        (("collapse.time_share=0",), False),
        (("collapse.action=stop",), False),
        (("collapse.action=rollback",), False),
        (("stopping=curvature",), False),
    ],
)
def test_the_budget_applies_where_the_result_does_not_depend_on_it(
    overrides: tuple[str, ...], limited: bool
) -> None:
    assert has_budget(make_searcher(*overrides).config) == limited
