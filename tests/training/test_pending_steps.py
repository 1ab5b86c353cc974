"""Values of steps are read from the device together."""

from __future__ import annotations

import torch

from darts.training.pending_steps import STEPS_PER_READ, PendingSteps, StepValues


def values(step: int, *numbers: float) -> StepValues:
    names = [f"metric_{i}" for i in range(len(numbers) - 1)]
    return StepValues(1, step, names, torch.tensor(numbers, dtype=torch.float64))


def test_on_a_cpu_every_step_is_due() -> None:
    pending = PendingSteps(torch.device("cpu"))
    assert pending.add(values(0, 8.0, 0.5))
    (read,) = pending.read()
    assert (read.epoch, read.step, read.num_samples) == (1, 0, 8)
    assert read.values == {"metric_0": 0.5}


def test_on_a_gpu_many_steps_are_read_at_once_in_their_order() -> None:
    pending = PendingSteps(torch.device("cuda"))
    due = [pending.add(values(step, 4.0, step / 2, -1.0)) for step in range(STEPS_PER_READ)]
    assert due == [False] * (STEPS_PER_READ - 1) + [True]
    read = pending.read()
    assert [step.step for step in read] == list(range(STEPS_PER_READ))
    assert [step.values["metric_0"] for step in read] == [n / 2 for n in range(STEPS_PER_READ)]
    assert pending.read() == []


def test_steps_may_have_different_values() -> None:
    pending = PendingSteps(torch.device("cuda"))
    pending.add(values(0, 4.0, 1.0))
    pending.add(values(1, 4.0, 2.0, 3.0))
    assert [step.values for step in pending.read()] == [
        {"metric_0": 1.0},
        {"metric_0": 2.0, "metric_1": 3.0},
    ]


def test_discarded_steps_are_not_read() -> None:
    pending = PendingSteps(torch.device("cuda"))
    pending.add(values(0, 4.0, 1.0))
    pending.discard()
    assert pending.read() == []
