"""The mlp space: genotypes, networks, costs and error messages."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces.mlp import Genotype, Mlp
from darts.spaces.mlp.space import Network
from darts.training.cost import count_macs, count_parameters

SIZES: dict[str, Any] = {"classes": 4, "in_channels": 12}
SMALL: dict[str, Any] = {"widths": [4, 2], "activations": ["relu", "tanh"]}


def test_derive_keeps_the_most_probable_candidates_and_drops_skipped_layers() -> None:
    space = Mlp(cells=3, **SMALL)
    candidates = space.supernet(**SIZES).candidates
    p = {"first": torch.tensor([[0.1, 0.2, 0.6, 0.1]])}
    p["rest"] = torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.6], [0.0, 0.4, 0.2, 0.2, 0.2]])
    assert space.derive(p, candidates).layers == ("tanh_4", "relu_2")
    used = space.derived_mask(p, candidates)
    assert used["rest"].tolist() == [[False] * 4 + [True], [False, True, False, False, False]]
    uniform = {group: torch.full_like(value, 0.2) for group, value in p.items()}
    assert space.derive(uniform, candidates).layers == ("relu_4",) * 3  # the lower column
    with pytest.raises(ValueError, match=r"groups \['first'\] must be \['first', 'rest'\]"):
        space.derive({"first": p["first"]}, candidates)


def test_the_number_of_networks_may_exceed_the_range_of_floats() -> None:
    deep = Mlp(cells=50).random(torch.Generator().manual_seed(0))
    assert 48 <= len(deep.layers) <= 50


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("relu_4",) * 3, "3 layers, more than space.cells=2"),
        (("relu_5",), r"relu_5 is not in .* space.widths=\[4, 2\]"),
        (("gelu_4",), r"gelu_4 is not in space.activations=\['relu', 'tanh'\]"),
    ],
)
def test_encode_rejects_genotypes_outside_the_space(layers: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mlp(cells=2, **SMALL).encode(Genotype(layers))


@pytest.mark.parametrize("key", ["widths", "activations"])
def test_repeated_candidates_are_rejected(key: str) -> None:
    values: dict[str, Any] = {"widths": [8, 8], "activations": ["relu", "relu"]}
    with pytest.raises(
        ValueError, match=f"space.{key}=.*: must contain at least one value and no value twice"
    ):
        Mlp(**{key: values[key]})


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
