"""Averages of weights against sums written out, and when a mean begins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from darts.tasks import TASKS
from darts.training.averaging import Averaging

ACCURACY = TASKS["classification"].metrics["accuracy"]
PERPLEXITY = TASKS["language_model"].metrics["perplexity"]


def walk(net: nn.Linear, averaging: Averaging, steps: int, seed: int = 0) -> list[torch.Tensor]:
    """Steps of any optimizer; the weights after each."""
    generator = torch.Generator().manual_seed(seed)
    seen = []
    for _ in range(steps):
        with torch.no_grad():
            net.weight.add_(torch.randn(net.weight.shape, generator=generator))
        averaging.step()
        seen.append(net.weight.detach().clone())
    return seen


def test_an_exponential_average_weighs_recent_steps_more() -> None:
    net = nn.Linear(3, 2)
    averaging = Averaging(net, decay=0.8)
    seen = walk(net, averaging, 6)
    wanted = seen[0]
    for weight in seen[1:]:
        wanted = 0.8 * wanted + 0.2 * weight
    torch.testing.assert_close(averaging.scored_net.weight, wanted)
    assert not averaging.end_epoch(0.1, ACCURACY)  # nothing begins: it has begun


def test_a_mean_begins_after_epochs_without_improvement() -> None:
    net = nn.Linear(3, 2)
    averaging = Averaging(net, patience=2)
    for score in (100.0, 90.0, 80.0, 85.0):  # 85 is better than all but the last two, 100 and 90
        walk(net, averaging, 3)
        assert averaging.scored_net is net
        assert not averaging.end_epoch(score, PERPLEXITY)
    walk(net, averaging, 3)
    assert averaging.end_epoch(90.5, PERPLEXITY)  # worse than 90, of three epochs ago
    seen = walk(net, averaging, 4, seed=1)
    assert not averaging.end_epoch(200.0, PERPLEXITY)
    seen += walk(net, averaging, 4, seed=2)
    torch.testing.assert_close(averaging.scored_net.weight, torch.stack(seen).mean(0))


def published(scores: list[float], patience: int) -> int | None:
    """Algorithm 1 of Merity et al.: the first t > n with v above the least of logs[0 : t-n]."""
    logs: list[float] = []
    for t, value in enumerate(scores):
        if t > patience and value > min(logs[: t - patience]):
            return t
        logs.append(value)
    return None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("patience", [1, 3])
def test_it_begins_when_the_algorithm_says(seed: int, patience: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    falling = torch.linspace(5, 0, 15) + 2 * torch.rand(15, generator=generator)
    for metric, sign in ((PERPLEXITY, 1), (ACCURACY, -1)):
        averaging = Averaging(nn.Linear(1, 1), patience=patience)
        begun = [averaging.end_epoch(sign * score, metric) for score in falling.tolist()]
        wanted = published(falling.tolist(), patience)
        assert [t for t, begins in enumerate(begun) if begins] == (
            [] if wanted is None else [wanted]
        )


@pytest.mark.parametrize("options", [{"decay": 0.9}, {"patience": 1}, {}])
def test_a_resumed_average_goes_on(options: dict[str, Any]) -> None:
    whole_net, net = nn.Linear(3, 2), nn.Linear(3, 2)
    whole = Averaging(whole_net, **options)
    walk(whole_net, whole, 2)
    for score in (2.0, 1.0, 3.0):
        whole.end_epoch(score, PERPLEXITY)
    walk(whole_net, whole, 3, seed=1)
    net.load_state_dict(whole_net.state_dict())
    resumed = Averaging(net, **options)
    resumed.load_state_dict(whole.state_dict())
    for given, averaging in ((whole_net, whole), (net, resumed)):
        walk(given, averaging, 3, seed=2)
    assert torch.equal(whole.scored_net.weight, resumed.scored_net.weight)
    assert (whole.scored_net is whole_net) == (resumed.scored_net is net) == (not options)


def test_two_ways_are_one_too_many() -> None:
    with pytest.raises(ValueError, match=r"ema_decay=0.9 and averaging_patience=5 exclude each other"):
        Averaging(nn.Linear(1, 1), decay=0.9, patience=5)
