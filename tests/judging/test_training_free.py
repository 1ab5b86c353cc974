"""NASWOT agrees with Hamming distances between activation codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from untrained_networks import Chain, batches, mlp, untrained

from darts.judging.training_free import naswot


def test_the_score_is_the_log_determinant_of_agreeing_units() -> None:
    data = batches(samples=5)
    network = untrained(mlp(), data)
    with torch.no_grad():
        first = torch.relu(network.net.layers[0](data[0][0]))
        second = network.net.layers[1](first)
    codes = (torch.cat([first, second], 1) > 0).numpy()
    units = codes.shape[1]
    kernel = [[units - int((a != b).sum()) for b in codes] for a in codes]
    assert naswot(network) == pytest.approx(math.log(abs(np.linalg.det(np.array(kernel)))))


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()])
def test_every_kind_of_relu_counts(relu: nn.Module) -> None:
    data = batches(samples=4)
    network = untrained(Chain(nn.Linear(5, 30).double(), relu, nn.Linear(30, 3).double()), data)
    assert math.isfinite(naswot(network))


def test_equal_samples_have_the_lowest_score() -> None:
    samples, labels = batches(samples=4)[0]
    network = untrained(mlp(), [(samples[:1].repeat(4, 1), labels)])
    assert naswot(network) == -math.inf


def test_a_network_without_relus_has_the_lowest_score() -> None:
    assert naswot(untrained(mlp(activation="tanh"), batches())) == -math.inf
