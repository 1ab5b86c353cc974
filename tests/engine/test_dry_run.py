"""The estimate of a run's cost from two of its steps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from darts.engine import dry_run as module
from darts.engine.dry_run import dry_run

CPU = torch.device("cpu")


def test_it_takes_two_steps_and_one_score_and_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = [0.0], []

    def duration(seconds: float) -> str:
        told.append(seconds)
        return "a while"

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(module, "duration", duration)
    steps: list[int] = []

    def one_step(number: int) -> None:
        clock[0] += 0.25 if steps else 60.0  # the first one warms up and does not count
        steps.append(number)

    scores: list[float] = []

    def one_score() -> None:
        clock[0] += 0.5
        scores.append(clock[0])

    found = dry_run(one_step, one_score, steps=100, score_batches=10, epochs=50, device=CPU)
    assert steps == [0, 1]
    assert len(scores) == 1
    assert found["steps"] == 5000
    assert found["epochs"] == 50
    assert found["seconds_per_step"] == 0.25
    assert found["estimated_time"] == "a while"
    assert told == [50 * (100 * 0.25 + 10 * 0.5)]
    assert found["peak_memory_mb"] > 16


def test_an_epoch_of_one_step_repeats_it() -> None:
    steps: list[int] = []
    dry_run(steps.append, lambda: None, steps=1, score_batches=0, epochs=1, device=CPU)
    assert steps == [0, 0]


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
        one_step,
        lambda: None,
        steps=10,
        score_batches=1,
        epochs=5,
        device=CPU,
        enter=enter,
        stages=[(0, 3), (3, 2)],
    )
    assert found["seconds_per_step"] == pytest.approx((3 * 1 + 2 * 4) / 5)
    assert found["estimated_time"] == "0:01:50"
    assert found["steps"] == 50
