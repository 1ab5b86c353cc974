"""The estimate of a run's cost from two of its steps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from darts.training import dry_run as module

from darts.tracking import Energy
from darts.training.dry_run import Span, dry_run

CPU = torch.device("cpu")


class Meter:
    """Of a machine that takes 50 watts."""

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.since = clock, 0.0

    def start(self) -> None:
        self.since = self.clock[0]

    def read(self) -> Energy:
        seconds = self.clock[0] - self.since
        return Energy(seconds, 50 * seconds, "rapl")


def common(clock: list[float]) -> dict[str, Any]:
    return {"device": CPU, "meter": Meter(clock), "gco2_per_kwh": 360.0}


def test_it_takes_some_steps_and_one_score_and_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = [0.0], []

    def duration(seconds: float) -> str:
        told.append(seconds)
        return "a while"

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(module, "duration", duration)
    steps: list[int] = []
    seconds = iter([60.0, 0.25, 0.25, 9.0, 0.2, 0.25])  # the first warms up; a median hides the 9

    def one_step(number: int) -> None:
        clock[0] += next(seconds)
        steps.append(number)

    def spend(time: float) -> None:
        clock[0] += time

    found = dry_run(
        [Span(50, one_step, rare=[(4, lambda: spend(3.0)), (0, lambda: spend(1000.0))])],
        lambda: spend(0.5),
        steps=100,
        score_batches=10,
        **common(clock),
    )
    assert steps == [0, 1, 2, 3, 4, 5]
    assert found["steps"] == 5000
    assert found["epochs"] == 50
    assert found["seconds_per_step"] == 0.25
    assert found["estimated_time"] == "a while"
    assert told == [found["estimated_seconds"]] == [50 * (100 * 0.25 + 10 * 0.5) + 4 * 3]
    assert found["estimated_joules"] == pytest.approx(50 * told[0])
    assert found["estimated_gco2e"] == pytest.approx(50 * told[0] / 1e4)  # 360 g for 3.6 MJ
    assert found["joules_source"] == "rapl"
    assert found["peak_memory_mb"] >= found["base_memory_mb"] > 16


def test_slow_steps_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, steps = [0.0], []
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def one_step(number: int) -> None:
        clock[0] += 100.0
        steps.append(number)

    found = dry_run([Span(1, one_step)], lambda: None, steps=100, score_batches=0, **common(clock))
    assert steps == [0, 1]
    assert found["estimated_seconds"] == 10_000


def test_an_epoch_of_one_step_repeats_it() -> None:
    steps: list[int] = []
    dry_run([Span(1, steps.append)], lambda: None, steps=1, score_batches=0, **common([0.0]))
    assert steps == [0] * 6


def test_stages_are_measured_each_and_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three epochs of a step of one second, then two of one of four."""
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    slow = [1.0]

    def enter(epoch: int) -> None:
        slow[0] = {0: 1.0, 3: 4.0}[epoch]

    def one_step(step: int) -> None:
        clock[0] += slow[0]

    found = dry_run(
        [Span(3, one_step), Span(2, one_step, first=3)],
        lambda: None,
        steps=10,
        score_batches=1,
        **common(clock),
        enter=enter,
    )
    assert found["seconds_per_step"] == pytest.approx((3 * 1 + 2 * 4) / 5)
    assert found["estimated_time"] == "0:01:50"
    assert found["steps"] == 50


def test_what_is_rare_is_done_in_its_own_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes 10 seconds in the first three epochs, which have one, and 100 in the others."""
    clock, slow = [0.0], [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def enter(epoch: int) -> None:
        slow[0] = {0: 10.0, 3: 100.0}[epoch]

    def look() -> None:
        clock[0] += slow[0]

    spans = [Span(3, lambda _: None, rare=[(1, look)]), Span(4, lambda _: None, 3, [(2, look)])]
    found = dry_run(spans, lambda: None, steps=10, score_batches=1, enter=enter, **common(clock))
    assert found["estimated_seconds"] == 1 * 10 + 2 * 100
    assert found["finish_seconds"] == 0


def test_the_end_is_measured_behind_the_last_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a median after one to warm up; the first and one of the others are slow."""
    clock, entered = [0.0], []
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    seconds = iter([50.0, 0.5, 0.5, 7.0, 0.5, 0.5])

    def one() -> None:
        assert entered == [0, 3]
        clock[0] += next(seconds)

    def never() -> None:
        raise AssertionError

    found = dry_run(
        [Span(3, lambda _: None), Span(2, lambda _: None, 3)],
        lambda: None,
        steps=10,
        score_batches=0,
        enter=entered.append,
        finish=lambda: [(1000, one), (0, never)],
        **common(clock),
    )
    assert found["estimated_seconds"] == found["finish_seconds"] == 500
    assert list(seconds) == []


def test_ranks_take_as_many_steps_as_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that went on alone would wait for ever for the others."""
    clock, taken = [0.0], [0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def one_step(number: int) -> None:
        clock[0] += 1.0
        taken[0] += 1

    def run(other: int) -> int:
        """Steps where another rank needs so many times as long."""
        taken[0] = 0
        more: dict[str, Any] = {"steps": 9, "score_batches": 0, "highest": lambda own: other * own}
        dry_run([Span(3, one_step)], lambda: None, **more, **common(clock))
        return taken[0]

    assert (run(1), run(7), run(100)) == (6, 4, 2)  # one of them warms up
