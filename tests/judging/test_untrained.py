"""Untrained networks get comparable weights and no noise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from untrained_networks import Chain, batches, mlp, untrained

from darts.judging.training_free import SCORES, score_network
from darts.judging.untrained import initialize
from darts.spaces.mlp.space import Network


def test_weights_keep_the_variance_through_relus_and_biases_are_zero() -> None:
    net = nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Linear(64, 500))
    initialize(net, torch.Generator().manual_seed(0))
    assert net[0].weight.std().item() == pytest.approx(math.sqrt(2 / 72), rel=0.05)
    assert net[2].weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)
    assert not net[0].bias.any()
    assert not net[2].bias.any()


@pytest.mark.parametrize("kind", ["module", "function"])
def test_dropout_is_off(kind: str) -> None:
    if kind == "module":
        net = Chain(nn.Linear(5, 3).double(), nn.Dropout(0.9))
    else:
        net = Network(mlp().genotype, classes=3, in_channels=5, dropout=0.9).double()
    network = untrained(net, batches())
    losses = {network.loss(network.batches[0]).item() for _ in range(3)}
    assert len(losses) == 1


def test_scores_do_not_depend_on_each_other() -> None:
    def network() -> Any:
        return untrained(mlp("batch"), batches(2, samples=20))

    together = score_network(network(), SCORES)
    reverse = score_network(network(), reversed(SCORES))
    for name in SCORES:
        alone = score_network(network(), [name])[name]
        assert together[name] == reverse[name] == alone, name
