"""Schedules of the learning rate, compared with PyTorch and with published values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from darts.config import ConfigError, WeightOptimizerConfig
from darts.training.schedules import rate_of_epoch, stable_rate, warmup_cosine
from darts.training.steps import check_weight_optimizer


@pytest.mark.parametrize(
    ("steps", "warmup", "rising"),
    [
        (40, 0.25, 10),
        (30, 0.1, 3),
        (7, 0.5, 4),
        (10, 0.01, 1),
        (4, 0.99, 3),
        (9, 0.0, 0),
        (1, 0.5, 0),
    ],
)
def test_the_rate_rises_linearly_and_then_follows_the_cosine_of_torch(
    steps: int, warmup: float, rising: int
) -> None:
    """Rise and fall meet in one step at the highest rate; the first rate is above 0."""
    high, low = 0.1, 0.01
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=high)
    rise = torch.linspace(0, high, rising + 2, dtype=torch.float64)[1:-1].tolist()
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - rising, eta_min=low)
    expected = list(rise)
    for _ in range(steps - rising):
        expected.append(fall.get_last_lr()[0])
        optimizer.step()
        fall.step()
    rates = [warmup_cosine(step, steps, warmup, high, low) for step in range(steps)]
    assert rates == pytest.approx(expected, rel=1e-9)
    assert max(rates) == rates[rising] == high
    assert warmup_cosine(steps, steps, warmup, high, low) == pytest.approx(low)


def test_the_exponential_schedule_equals_that_of_torch() -> None:
    config = WeightOptimizerConfig(lr=0.1, lr_min=0.0, schedule="exponential", decay=0.97)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.97)
    for epoch in range(20):
        assert rate_of_epoch(config, epoch, 250) == pytest.approx(schedule.get_last_lr()[0], 1e-9)
        optimizer.step()
        schedule.step()
    floor = WeightOptimizerConfig(lr=0.1, lr_min=0.05, schedule="exponential", decay=0.5)
    assert rate_of_epoch(floor, 9, 10) == 0.05


def stable(warmup: int, cooldown: float) -> WeightOptimizerConfig:
    return WeightOptimizerConfig(
        lr=0.1, schedule="stable", warmup_epochs=warmup, cooldown=cooldown, lr_min=0.0
    )


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup", "decay"),
    [(6, 4, 2, 3), (2, 5, 1, 1), (3, 1, 1, 1), (5, 3, 0, 2), (4, 3, 2, 0), (3, 2, 0, 0)],
)
def test_the_stable_schedule_rises_is_constant_and_falls(
    epochs: int, steps: int, warmup: int, decay: int
) -> None:
    """Neither rise nor fall contains 0; without warm-up or decay, there is none."""
    rise, fall = (
        torch.linspace(0, 1, count * steps + 2, dtype=torch.float64)[1:-1]
        for count in (warmup, decay)
    )
    constant = torch.ones((epochs - warmup - decay) * steps, dtype=torch.float64)
    expected = (0.1 * torch.cat([rise, constant, 1 - fall.sqrt()])).tolist()
    config = stable(warmup, decay / epochs)
    rates = [stable_rate(config, step, epochs, steps) for step in range(epochs * steps)]
    assert rates == pytest.approx(expected, rel=1e-9)


def test_without_a_cooldown_the_stable_schedule_does_not_depend_on_the_number_of_epochs() -> None:
    rates = [[stable_rate(stable(3, 0), step, epochs, 4) for step in range(8)] for epochs in (2, 9)]
    assert rates[0] == rates[1]


def test_with_a_time_limit_the_rate_falls_with_the_time() -> None:
    shares = [1.0, 0.6, 0.5, 0.25, 0.0, -0.1]  # the last step may end too late
    for step in (0, 900):  # the number of epochs is far away
        rates = [stable_rate(stable(0, 0.5), step, 10**6, 10, time_left=left) for left in shares]
        assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1 - 0.1 * 0.5**0.5, 0.0, 0.0])
    assert stable_rate(stable(0, 0.0), 5, 10**6, 10, time_left=0.0) == 0.1


def test_with_a_timescale_the_rate_decays_with_the_slow_steps() -> None:
    config = replace(stable(0, 0.0), timescale=100)
    assert stable_rate(config, 0, 9, 50) == stable_rate(config, 300, 9, 50) == 0.1
    assert stable_rate(config, 300, 9, 50, slow_steps=300) == pytest.approx(0.05)
    falling = replace(config, cooldown=1.0)
    for left, rate in ((0.75, 0.025), (0.0, 0.0)):
        found = stable_rate(falling, 300, 10**6, 50, time_left=left, slow_steps=300)
        assert found == pytest.approx(rate)


@pytest.mark.parametrize("option", [{"cooldown": 0.5}, {"timescale": 10}])
def test_options_of_the_stable_schedule_need_it(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"=[0-9.]+: set optimizer\.schedule=stable"):
        check_weight_optimizer(WeightOptimizerConfig(**option))
