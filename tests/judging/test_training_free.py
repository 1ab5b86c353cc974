"""Scores from activations: codes of ReLUs, principal components, and norms of Jacobians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from untrained_networks import Chain, batches, mlp, untrained

from darts.judging.training_free import (
    entropy_of_components,
    expressivity,
    naswot,
    progressivity,
    trainability,
)


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


def with_spectrum(*deviations: float) -> Tensor:
    """Return features ``(B, C)`` whose covariance has these squares as eigenvalues."""
    base = torch.linalg.qr(torch.randn(50, len(deviations) + 1, dtype=torch.float64))[0]
    base = base - base.mean(0)
    basis = torch.linalg.qr(base[:, : len(deviations)])[0]
    rotation = torch.linalg.qr(torch.randn(len(deviations), len(deviations)).double())[0]
    return 3 + basis * torch.tensor(deviations) @ rotation


def test_entropy_is_that_of_the_eigenvalues_of_the_covariance() -> None:
    eigenvalues = torch.tensor([4.0, 1.0, 1.0, 0.25]).double()
    shares = eigenvalues / eigenvalues.sum()
    expected = -(shares * shares.log()).sum().item()
    assert entropy_of_components(with_spectrum(2, 1, 1, 0.5)) == pytest.approx(expected, abs=1e-6)
    assert entropy_of_components(with_spectrum(3, 3, 3)) == pytest.approx(math.log(3))
    assert entropy_of_components(with_spectrum(3, 0, 0)) == pytest.approx(0, abs=1e-6)
    assert entropy_of_components(torch.ones(4, 3, 2, 2)) == 0


def test_entropy_of_images_treats_each_position_as_a_sample() -> None:
    images = torch.randn(3, 4, 5, 6)
    rows = images.permute(0, 2, 3, 1).reshape(-1, 4)
    assert entropy_of_components(images) == pytest.approx(entropy_of_components(rows))


class Fixed(nn.Module):
    """Multiplies samples by a fixed matrix, with a parameter so that gradients exist."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.double())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T


def test_expressivity_sums_entropies_and_progressivity_is_their_smallest_increase() -> None:
    first, second = torch.randn(5, 5), torch.zeros(5, 5)
    second[0] = 1  # one component is left
    data = batches(samples=40)
    network = untrained(Chain(Fixed(first), Fixed(second), Fixed(torch.eye(3, 5))), data)
    x = data[0][0]
    features = [x @ first.double().T, x @ (second @ first).double().T]
    features.append(features[1][:, :3])
    entropies = [entropy_of_components(feature) for feature in features]
    assert expressivity(network) == pytest.approx(sum(entropies))
    assert progressivity(network) == pytest.approx(entropies[1] - entropies[0])


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
def test_trainability_is_best_for_blocks_that_keep_the_norm_of_gradients(scale: float) -> None:
    rotation = torch.linalg.qr(torch.randn(3, 3))[0]
    network = untrained(
        Chain(Fixed(torch.randn(3, 5)), Fixed(scale * rotation)), batches(samples=20_000)
    )
    assert trainability(network) == pytest.approx(2 - scale - 1 / scale, abs=0.05)


def test_a_reducing_block_is_compared_with_equal_energy() -> None:
    """Averages of 2x2 pixels, scaled to keep the norm of gradients, have the norm 1."""

    class Reduce(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * nn.functional.avg_pool2d(x, 2)

    stem = nn.Conv2d(1, 3, 1).double()
    network = untrained(Chain(stem, Reduce()), batches(samples=200, shape=(1, 8, 8)))
    assert trainability(network) == pytest.approx(0, abs=0.02)


def test_a_block_that_cuts_the_network_has_the_worst_trainability() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    network = untrained(Chain(nn.Linear(5, 3).double(), Constant()), batches())
    assert trainability(network) < -1e5
