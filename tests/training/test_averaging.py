"""Averaged weights equal explicit averages, and a mean starts when scores stop improving."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from darts.tasks import TASKS
from darts.training.averaging import Averaging

ACCURACY = TASKS["classification"].metrics["accuracy"]
PERPLEXITY = TASKS["language_model"].metrics["perplexity"]


def take_steps(
    net: nn.Linear, averaging: Averaging, steps: int, seed: int = 0
) -> list[torch.Tensor]:
    """Change the weights at random and return them after each step."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for _ in range(steps):
        with torch.no_grad():
            net.weight.add_(torch.randn(net.weight.shape, generator=generator))
        averaging.step()
        weights.append(net.weight.detach().clone())
    return weights


def test_an_exponential_average_weighs_recent_steps_more() -> None:
    net = nn.Linear(3, 2)
    averaging = Averaging(net, decay=0.8)
    first, *others = take_steps(net, averaging, 6)
    expected = first
    for weight in others:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(averaging.scored_net.weight, expected)
    assert not averaging.end_epoch(0.1, ACCURACY)  # it started with the first step


@pytest.mark.parametrize("power", [0.5, 1, 8])
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_a_polynomial_average_weighs_each_step_by_a_power(power: float, steps: int) -> None:
    """Step t has the weight t (t + 1) ... (t + p - 1): about t to the power p, and 1 for t = 1."""
    net = nn.Linear(3, 2)
    averaging = Averaging(net, power=power)
    values = torch.stack(take_steps(net, averaging, steps))
    times = torch.arange(1, steps + 1, dtype=torch.float64)
    weights = (torch.lgamma(times + power) - torch.lgamma(times)).softmax(0)
    expected = (weights[:, None, None] * values).sum(0).float()
    torch.testing.assert_close(averaging.scored_net.weight, expected)


def test_a_mean_starts_after_epochs_without_improvement() -> None:
    net = nn.Linear(3, 2)
    averaging = Averaging(net, patience=2)
    # With patience=2, 85 is compared with 100 only.
    for score in (100.0, 90.0, 80.0, 85.0):
        take_steps(net, averaging, 3)
        assert averaging.scored_net is net
        assert not averaging.end_epoch(score, PERPLEXITY)
    take_steps(net, averaging, 3)
    assert averaging.end_epoch(90.5, PERPLEXITY)  # worse than 90, three epochs before
    weights = take_steps(net, averaging, 4, seed=1)
    assert not averaging.end_epoch(200.0, PERPLEXITY)
    weights += take_steps(net, averaging, 4, seed=2)
    torch.testing.assert_close(averaging.scored_net.weight, torch.stack(weights).mean(0))


def first_averaged_epoch(scores: list[float], patience: int) -> int | None:
    """Return the epoch in which averaging starts by algorithm 1 of Merity et al.

    It is the first t > n with a loss above the minimum of logs[0 : t-n], arXiv:1708.02182.
    """
    logs: list[float] = []
    for t, value in enumerate(scores):
        if t > patience and value > min(logs[: t - patience]):
            return t
        logs.append(value)
    return None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("patience", [1, 3])
def test_a_mean_starts_in_the_epoch_of_the_published_algorithm(seed: int, patience: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    falling = torch.linspace(5, 0, 15) + 2 * torch.rand(15, generator=generator)
    for metric, sign in ((PERPLEXITY, 1), (ACCURACY, -1)):
        averaging = Averaging(nn.Linear(1, 1), patience=patience)
        starts = [averaging.end_epoch(sign * score, metric) for score in falling.tolist()]
        expected = first_averaged_epoch(falling.tolist(), patience)
        assert [epoch for epoch, value in enumerate(starts) if value] == (
            [] if expected is None else [expected]
        )


@pytest.mark.parametrize("options", [{"decay": 0.9}, {"power": 3.0}, {"patience": 1}, {}])
def test_a_resumed_average_equals_an_uninterrupted_one(options: dict[str, Any]) -> None:
    unbroken_net, net = nn.Linear(3, 2), nn.Linear(3, 2)
    unbroken = Averaging(unbroken_net, **options)
    take_steps(unbroken_net, unbroken, 2)
    for score in (2.0, 1.0, 3.0):
        unbroken.end_epoch(score, PERPLEXITY)
    take_steps(unbroken_net, unbroken, 3, seed=1)
    net.load_state_dict(unbroken_net.state_dict())
    resumed = Averaging(net, **options)
    resumed.load_state_dict(unbroken.state_dict())
    for module, averaging in ((unbroken_net, unbroken), (net, resumed)):
        take_steps(module, averaging, 3, seed=2)
    assert torch.equal(unbroken.scored_net.weight, resumed.scored_net.weight)
    assert (unbroken.scored_net is unbroken_net) == (resumed.scored_net is net) == (not options)
