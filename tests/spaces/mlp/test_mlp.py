"""The mlp space: genotypes, networks, costs, and supernets that equal weighted sums."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images, mixing
from torch import Tensor, nn

from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces.mixture import Mixture
from darts.spaces.mlp import Genotype, Mlp
from darts.spaces.mlp.supernet import Supernet
from darts.training.cost import count_macs, count_parameters

SMALL: dict[str, Any] = {"widths": [4, 2], "activations": ["relu", "tanh"]}


def test_derive_keeps_the_most_probable_candidates_and_drops_skipped_layers() -> None:
    space = Mlp(cells=3, **SMALL)
    candidates = space.supernet(classes=4, in_channels=12).candidates
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


LAYERS = Genotype(("relu_5", "tanh_3"))


@pytest.mark.parametrize(("normalization", "per_unit"), [("batch", 2), ("layer", 3), ("none", 1)])
def test_the_number_of_parameters_matches_a_hand_count(normalization: str, per_unit: int) -> None:
    """Matrices; scale, shift and bias of each unit, but no bias before batch norm."""
    net = Mlp(normalization=normalization).network(LAYERS, classes=4, in_channels=12)
    matrices = 12 * 5 + 5 * 3 + 3 * 4
    assert count_parameters(net.parameters()) == matrices + per_unit * (5 + 3) + 4
    assert count_macs(net, torch.zeros(1, 3, 2, 2)) == matrices


@pytest.mark.parametrize("normalization", ["batch", "layer", "none"])
def test_the_network_equals_its_layers_written_out(normalization: str) -> None:
    torch.manual_seed(0)
    net = Mlp(normalization=normalization).network(LAYERS, classes=4, in_channels=12).double()
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


@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_an_ensemble_equals_networks_that_share_their_hidden_layers(normalization: str) -> None:
    space = Mlp(normalization=normalization, members=3)
    net = space.network(LAYERS, classes=4, in_channels=6)
    x = torch.randn(5, 6, 1, 1)
    assert net(x).shape == (5, 3, 4)  # in training
    net.eval()
    single = Mlp(normalization=normalization).network(LAYERS, classes=4, in_channels=6).eval()
    single.layers.load_state_dict(net.layers.state_dict())
    expected = []
    for member in range(3):
        single.classifier.weight.data = net.classifier.weight[member].T
        single.classifier.bias.data = net.classifier.bias[member]
        expected.append(single(x * net.factors[member, :, None, None]))
    torch.testing.assert_close(net(x), torch.stack(expected).mean(0))
    assert set(net.factors.flatten().tolist()) == {-1.0, 1.0}


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    net = Mlp(normalization="none", dropout=0.5).network(LAYERS, classes=4, in_channels=12)
    x = torch.randn(6, 12)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    plain = Mlp(normalization="none").network(LAYERS, classes=4, in_channels=12)
    plain.load_state_dict(net.state_dict())
    assert torch.equal(net(x), plain(x))


@pytest.mark.parametrize("normalization", ["batch", "none"])
@pytest.mark.parametrize(("cells", "embedding"), [(1, "periodic"), (3, "none")])
def test_expected_costs_are_the_mean_over_all_networks(
    normalization: str, cells: int, embedding: str
) -> None:
    choices: Any = {"widths": [3, 8], "activations": ["relu", "tanh"], "embedding": embedding}
    space = Mlp(cells=cells, normalization=normalization, **choices)
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
            space, candidates, classes=4, sample_shape=(6, 1, 1), measure=MEASURES[name]
        )
        leaves = {group: value.clone().requires_grad_() for group, value in p.items()}
        actual = cost(leaves)
        assert float(actual.detach()) == pytest.approx(expected[name])
        actual.backward()
        assert all(bool(leaf.grad.any()) for leaf in leaves.values())  # type: ignore[union-attr]


CLASSES = 4
CHOICES: dict[str, Any] = {"activations": ("sigmoid", "relu", "tanh"), "widths": (3, 7, 5)}


def make(normalization: str = "batch", cells: int = 3) -> Supernet:
    torch.manual_seed(0)
    space = Mlp(normalization=normalization, cells=cells, **CHOICES)
    return space.supernet(classes=CLASSES, in_channels=12).double()


def by_definition(net: Any, normalization: str, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Sum over the candidates, each with its linear map, norm and zero padding."""
    x = x.flatten(1)
    rows = [(group, row) for group, (count, _) in net.shapes.items() for row in range(count)]
    for layer, (group, row) in zip(net.layers, rows, strict=True):
        total = torch.zeros(len(x), max(CHOICES["widths"]), dtype=x.dtype)
        for column, name in enumerate(net.candidates[group][row]):
            if name == "skip_connect":
                y = x
            else:
                activation, _, width = name.rpartition("_")
                bias = None if layer.linear.bias is None else layer.linear.bias[: int(width)]
                z = F.linear(x, layer.linear.weight[: int(width)], bias)
                if normalization == "batch":
                    z = F.batch_norm(z, None, None, training=True)
                elif normalization == "layer":
                    z = F.layer_norm(z, [int(width)])
                z = getattr(torch, activation)(z)
                y = F.pad(z, (0, total.shape[1] - int(width)))
            total = total + weights[group][row, column] * y
        x = total
    return F.linear(x, net.classifier.weight, net.classifier.bias)


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("normalization", ["batch", "layer", "none"])
def test_the_output_is_the_weighted_sum_of_the_candidates(normalization: str, cells: int) -> None:
    net, x = make(normalization, cells), images(5, 3, 2, 2).requires_grad_()
    weights = {group: w.requires_grad_() for group, w in mixing(net).items()}
    sources = [x, *weights.values(), *net.weight_parameters()]
    actual, expected = net(x, weights), by_definition(net, normalization, x, weights)
    torch.testing.assert_close(actual, expected, **EXACT)
    direction = images(5, CLASSES, seed=3)
    sums = ((y * direction).sum() for y in (actual, expected))
    first, second = (torch.autograd.grad(own, sources, retain_graph=True) for own in sums)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, **EXACT)
        assert bool(b.any())


def test_activations_without_active_candidates_do_not_run() -> None:
    net, x = make(), images(2, 12)
    active = {
        "first": torch.tensor([[False] * 3 + [True, False, True] + [False] * 3]),  # relu
        "rest": torch.tensor([[True] + [False] * 5 + [True] * 4, [False] * 9 + [True]]),
    }
    ran: list[str] = []
    for name, module in net.named_modules():
        if ".activations." in name:
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    net(x, Mixture(mixing(net), active=active))
    # One activation of the first layer and two of the second run; the third layer is skipped.
    assert ran == ["layers.0.activations.1", "layers.1.activations.0", "layers.1.activations.2"]


def test_dropout_of_units_and_skips_acts_only_in_training() -> None:
    net, x = make("none"), images(64, 12)
    skips = {"first": F.one_hot(torch.tensor([3]), 9).double()}
    skips["rest"] = F.one_hot(torch.tensor([9, 9]), 10).double()
    layers = {**skips, "rest": F.one_hot(torch.tensor([3, 3]), 10).double()}
    kept = [net(x, skips), net(x, layers)]
    net.skip_dropout = 0.5
    assert not torch.allclose(net(x, skips), kept[0])
    assert torch.equal(net(x, layers), kept[1])
    net.skip_dropout, net.dropout = 0.0, 0.5
    assert not torch.allclose(net(x, layers), kept[1])
    net.classifier = nn.Identity()
    net.dropout = 0.0
    whole = net(x, skips)
    net.dropout = 0.25
    ratio = net(x, skips) / whole.where(whole != 0, torch.nan)  # dropout in the first layer only
    ratio = ratio[ratio.isfinite()].detach()
    assert set(ratio.round(decimals=9).unique().tolist()) == {0.0, round(4 / 3, 9)}
    assert float(ratio.mean()) == pytest.approx(1, abs=0.15)
    net.eval()
    torch.testing.assert_close(net(x, skips), whole)


def test_a_periodic_embedding_equals_its_formula_for_each_number() -> None:
    torch.manual_seed(0)
    net = Mlp(embedding="periodic").network(LAYERS, classes=4, in_channels=3).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    own = net.embedding.state_dict()
    columns = []
    for k in range(3):
        angles = 2 * torch.pi * torch.outer(x[:, k], own["frequencies"][k]) + own["phases"][k]
        columns += [x[:, [k]], torch.cos(angles) @ own["weight"][k] + own["bias"][k]]
    expected = torch.cat(columns, 1)
    torch.testing.assert_close(net.embedding(x), expected, **EXACT)
    assert net.layers[0][0].in_features == 3 * 4


def test_members_have_factors_of_the_embedded_inputs() -> None:
    net = Mlp(embedding="periodic", members=2).network(LAYERS, classes=4, in_channels=3)
    assert net.factors.shape == (2, 12)
    assert net(torch.randn(5, 3)).shape == (5, 2, 4)
