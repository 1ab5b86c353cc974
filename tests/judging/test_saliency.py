"""Scores from gradients agree with finite differences and with sums over paths."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from untrained_networks import Chain, batches, mlp, untrained

from darts.judging.saliency import gradient_norm, snip, synflow, zico


def finite_differences(network, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return the gradient of the loss with respect to each weight by central differences."""
    gradients = []
    for weight in network.weights():
        gradient = torch.zeros_like(weight)
        for index in np.ndindex(*weight.shape):
            losses = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    weight[index] += step
                    losses.append(F.cross_entropy(network.net(batch[0]), batch[1]).item())
                    weight[index] -= step
            gradient[index] = (losses[0] - losses[1]) / 2e-6
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_gradient_norm_and_snip_agree_with_finite_differences(normalization: str) -> None:
    data = batches()
    network = untrained(mlp(normalization, activation="gelu"), data)
    gradients = finite_differences(network, data[0])
    expected = sum(gradient.norm().item() for gradient in gradients)
    assert gradient_norm(network) == pytest.approx(expected, rel=1e-6)
    weights = [weight.detach() for weight in network.weights()]
    products = sum((w * g).abs().sum().item() for w, g in zip(weights, gradients, strict=True))
    assert snip(network) == pytest.approx(products, rel=1e-6)


def test_zico_agrees_with_statistics_of_single_batches() -> None:
    data = batches(3)
    network = untrained(mlp(activation="gelu"), data)
    per_batch = [[g.numpy() for g in finite_differences(network, batch)] for batch in data]
    expected = 0.0
    for tensors in zip(*per_batch, strict=True):
        magnitudes = np.abs(np.stack(tensors))
        expected += math.log((magnitudes.mean(0) / magnitudes.std(0)).sum())
    assert zico(network) == pytest.approx(expected, rel=1e-4)


def test_synflow_of_a_plain_network_is_the_sum_over_all_paths() -> None:
    """Each of the three weight matrices contributes the sum of the products along all paths."""
    network = untrained(mlp(), batches())
    product = torch.ones(5, dtype=torch.float64)
    for weight in network.weights():
        product = weight.detach().abs() @ product
    assert synflow(network) == pytest.approx(math.log(3 * product.sum().item()))


def test_synflow_ignores_batch_norm_and_leaves_the_network_unchanged() -> None:
    network = untrained(mlp("batch"), batches())
    network.net(5 + batches()[0][0])  # changes running statistics
    before = copy.deepcopy(network.net.state_dict())
    assert synflow(network) == pytest.approx(synflow(untrained(mlp("none"), batches())))
    assert all(value.equal(before[name]) for name, value in network.net.state_dict().items())


def test_a_network_whose_output_is_constant_has_the_lowest_scores() -> None:
    class Zero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    data = batches(2)
    network = untrained(Chain(nn.Linear(5, 3).double(), Zero()), data)
    assert synflow(network) == -math.inf
    assert gradient_norm(network) == 0
    assert zico(network) == 0
