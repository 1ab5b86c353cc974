"""Training-free scores of untrained networks, compared with direct computations."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.judging.training_free import (
    SCORES,
    entropy_of_components,
    expressivity,
    gradient_norm,
    naswot,
    progressivity,
    score_network,
    snip,
    synflow,
    trainability,
    zico,
)
from darts.judging.untrained import UntrainedNetwork, initialize
from darts.spaces import NetworkBase, parse_genotype
from darts.spaces.mlp.space import Mlp, Network
from darts.tasks.task import TASKS, ObjectiveSpec

CLASSES = 3


class Chain(NetworkBase):
    """Modules in a row, each of them a block with features."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__(parse_genotype('{"space": "mlp", "layers": ["relu_8", "relu_6"]}'))
        self.chain = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.chain:
            x = block(x)
        return x.flatten(2).mean(2) if x.ndim > 2 else x

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.chain)


def mlp(normalization: str = "none", activation: str = "relu") -> Network:
    """Return a network with hidden layers of 8 and 6 units for 5 values, in float64."""
    genotype = parse_genotype(f'{{"space": "mlp", "layers": ["{activation}_8", "{activation}_6"]}}')
    space = Mlp(normalization=normalization)
    return space.network(genotype, classes=CLASSES, in_channels=5).double()


def batches(
    count: int = 1, samples: int = 7, shape: tuple[int, ...] = (5,)
) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(samples, *shape, generator=generator, dtype=torch.float64),
            torch.randint(CLASSES, (samples,), generator=generator),
        )
        for _ in range(count)
    ]


def untrained(net: NetworkBase, data: list[tuple[Tensor, Tensor]], seed: int = 0) -> Any:
    """Return the network, prepared for scores."""
    spec = ObjectiveSpec(tuple(map(str, range(CLASSES))))
    objective = TASKS["classification"]().make_objective(spec)
    return UntrainedNetwork(net, objective, data, data[0][0][:1], seed=seed)


def gradients_of(network: Any, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    loss = F.cross_entropy(network.net(batch[0]), batch[1])
    return list(torch.autograd.grad(loss, list(network.weights())))


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_gradient_norm_and_snip_agree_with_their_definitions(normalization: str) -> None:
    data = batches()
    network = untrained(mlp(normalization, activation="gelu"), data)
    gradients = gradients_of(network, data[0])
    expected = sum(gradient.norm().item() for gradient in gradients)
    assert gradient_norm(network) == pytest.approx(expected, rel=1e-6)
    weights = [weight.detach() for weight in network.weights()]
    products = sum((w * g).abs().sum().item() for w, g in zip(weights, gradients, strict=True))
    assert snip(network) == pytest.approx(products, rel=1e-6)


def test_zico_agrees_with_statistics_of_single_batches() -> None:
    data = batches(3)
    network = untrained(mlp(activation="gelu"), data)
    per_batch = [[g.numpy() for g in gradients_of(network, batch)] for batch in data]
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


def test_equal_samples_and_networks_without_relus_have_the_lowest_score() -> None:
    samples, labels = batches(samples=4)[0]
    network = untrained(mlp(), [(samples[:1].repeat(4, 1), labels)])
    assert naswot(network) == -math.inf
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
    net = Chain(Fixed(torch.randn(3, 5)), Fixed(scale * rotation))
    network = untrained(net, batches(samples=20_000))
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
        net = Mlp(dropout=0.9).network(mlp().genotype, classes=3, in_channels=5).double()
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
