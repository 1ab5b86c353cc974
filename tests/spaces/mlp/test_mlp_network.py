"""The discrete network of the mlp space and its costs."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces.mlp import Genotype, Mlp
from darts.spaces.mlp.space import Network
from darts.training.cost import count_macs, count_parameters

LAYERS = Genotype(("relu_5", "tanh_3"))


@pytest.mark.parametrize(("normalization", "per_unit"), [("batch", 2), ("layer", 3), ("none", 1)])
def test_the_number_of_parameters_matches_a_hand_count(normalization: str, per_unit: int) -> None:
    """Matrices; scale, shift and bias of each unit, but no bias before batch norm."""
    net = Network(LAYERS, classes=4, in_channels=12, normalization=normalization)
    matrices = 12 * 5 + 5 * 3 + 3 * 4
    assert count_parameters(net.parameters()) == matrices + per_unit * (5 + 3) + 4
    assert count_macs(net, torch.zeros(1, 3, 2, 2)) == matrices


@pytest.mark.parametrize("normalization", ["batch", "layer", "none"])
def test_the_network_equals_its_layers_written_out(normalization: str) -> None:
    torch.manual_seed(0)
    net = Network(LAYERS, classes=4, in_channels=12, normalization=normalization).double()
    x = torch.randn(6, 3, 2, 2, dtype=torch.float64)
    y, layers = x.flatten(1), zip(net.layers, (F.relu, torch.tanh), strict=True)
    for (linear, _, _), activation in layers:
        y = F.linear(y, linear.weight, linear.bias)
        if normalization == "batch":
            y = F.batch_norm(y, None, None, training=True)
        if normalization == "layer":
            y = F.layer_norm(y, [y.shape[1]])
        y = activation(y)
    expected = F.linear(y, net.classifier.weight, net.classifier.bias)
    torch.testing.assert_close(net(x), expected)


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    net = Network(LAYERS, classes=4, in_channels=12, normalization="none", dropout=0.5)
    x = torch.randn(6, 12)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    plain = Network(LAYERS, classes=4, in_channels=12, normalization="none")
    plain.load_state_dict(net.state_dict())
    assert torch.equal(net(x), plain(x))


@pytest.mark.parametrize("normalization", ["batch", "none"])
@pytest.mark.parametrize("cells", [1, 3])
def test_expected_costs_are_the_mean_over_all_networks(normalization: str, cells: int) -> None:
    """The mean is taken over every combination of candidates, including skipped layers."""
    space = Mlp(
        cells=cells, widths=[3, 8], activations=["relu", "tanh"], normalization=normalization
    )
    candidates = space.supernet(classes=4, in_channels=6).candidates
    draw = torch.Generator().manual_seed(0)
    p = {
        group: torch.randn(len(rows), len(rows[0]), generator=draw).double().softmax(-1)
        for group, rows in candidates.items()
    }
    rows = [
        list(zip(names, values.tolist(), strict=True))
        for group in candidates
        for names, values in zip(candidates[group], p[group], strict=True)
    ]
    expected = {"flops": 0.0, "parameters": 0.0}
    for choice in itertools.product(*rows):
        probability = torch.tensor([p for _, p in choice]).double().prod().item()
        layers = tuple(name for name, _ in choice if name != "skip_connect")
        net = space.network(Genotype(layers), classes=4, in_channels=6)
        expected["flops"] += probability * 2 * count_macs(net, torch.zeros(1, 6))
        expected["parameters"] += probability * count_parameters(net.parameters())
    for name in expected:
        cost = ExpectedCost.measured(
            space,
            candidates,
            classes=4,
            sample_shape=(6, 1, 1),
            measure=MEASURES[name],
            device=torch.device("cpu"),
        )
        leaves = {group: value.clone().requires_grad_() for group, value in p.items()}
        actual = cost(leaves)
        assert float(actual.detach()) == pytest.approx(expected[name])
        actual.backward()
        assert all(bool(leaf.grad.any()) for leaf in leaves.values())  # type: ignore[union-attr]
