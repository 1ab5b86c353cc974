"""Averages of weights, and the statistics of their batch norms, equal explicit computations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.tasks.task import TASKS
from darts.training.averaging import Averaging, recompute_statistics

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


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("patience", [1, 3])
def test_a_mean_starts_in_the_epoch_of_the_published_algorithm(seed: int, patience: int) -> None:
    """Algorithm 1 of Merity et al., arXiv:1708.02182.

    It starts in the first epoch t > n with a loss above the minimum of logs[0 : t-n].
    """
    generator = torch.Generator().manual_seed(seed)
    falling = torch.linspace(5, 0, 15) + 2 * torch.rand(15, generator=generator)
    for metric, sign in ((PERPLEXITY, 1), (ACCURACY, -1)):
        averaging = Averaging(nn.Linear(1, 1), patience=patience)
        starts = [averaging.end_epoch(sign * score, metric) for score in falling.tolist()]
        logs = falling.tolist()
        expected = [t for t in range(patience + 1, 15) if logs[t] > min(logs[: t - patience])]
        assert [epoch for epoch, value in enumerate(starts) if value] == expected[:1]


@pytest.mark.parametrize("options", [{"power": 3.0}, {"patience": 1}, {}])
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


def forward(net: nn.Module, batch: Tensor) -> Tensor:
    output: Tensor = net(batch)
    return output


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_the_statistics_are_the_means_over_the_batches() -> None:
    net = make_net()
    norm = net[2]
    batches = [torch.randn(8, 3), 3 * torch.randn(8, 3) + 1]
    recompute_statistics(net, batches, forward)
    with torch.no_grad():  # without dropout
        features = [net[0](batch).double() for batch in batches]
    means = torch.stack([each.mean(0) for each in features]).mean(0)
    variances = torch.stack([each.var(0) for each in features]).mean(0)
    found = norm.state_dict()
    torch.testing.assert_close(found["running_mean"].double(), means, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["running_var"].double(), variances, rtol=1e-5, atol=1e-6)
    assert norm.momentum == 0.1
    assert all(module.training for module in net.modules())


def test_a_norm_that_keeps_its_statistics_in_training_keeps_them() -> None:
    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Frozen:
            super().train(False)
            return self

    frozen, other = Frozen(3), nn.BatchNorm1d(3)
    recompute_statistics(nn.Sequential(frozen, other), [torch.randn(8, 3) + 5], forward)
    assert frozen.state_dict()["running_mean"].eq(0).all()
    assert other.state_dict()["running_mean"].gt(4).all()


def test_no_batch_is_read_without_batch_norms() -> None:
    def batches() -> Iterator[Tensor]:
        raise AssertionError("a batch was read")
        yield

    recompute_statistics(nn.Linear(3, 2), batches(), forward)
