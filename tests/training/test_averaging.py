"""Tests of averages of weights: the statistics of their batch norms."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from darts.training.averaging import recompute_statistics


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
