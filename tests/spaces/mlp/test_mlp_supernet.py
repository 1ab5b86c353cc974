"""The supernet of the mlp space equals the sum over its candidates, one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts import bilevel
from darts.spaces.mixture import Mixture
from darts.spaces.mlp import Genotype, Mlp, Network, Supernet

EXACT = {"rtol": 1e-9, "atol": 1e-9}
CLASSES = 4
CHOICES: dict[str, Any] = {"activations": ("sigmoid", "relu", "tanh"), "widths": (3, 7, 5)}
NORMALIZATIONS = ["batch", "layer", "none"]


def make(normalization: str = "batch", cells: int = 3, **options: Any) -> Supernet:
    torch.manual_seed(0)
    sizes = {"classes": CLASSES, "in_channels": 12, "cells": cells, **CHOICES, **options}
    return Supernet(normalization=normalization, **sizes).double()


def samples(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixing(net: Supernet, seed: int = 2) -> dict[str, Tensor]:
    return {g: samples(*shape, seed=seed).softmax(-1) for g, shape in net.shapes.items()}


def test_attributes_describe_the_alphas() -> None:
    net = make(cells=3)
    names = tuple(f"{a}_{w}" for a in CHOICES["activations"] for w in CHOICES["widths"])
    assert {group: tuple(alpha.shape) for group, alpha in net.alphas.items()} == {
        "first": (1, 9),
        "rest": (2, 10),
    }
    assert net.shapes == {"first": (1, 9), "rest": (2, 10)}
    assert net.counts == {"first": 1, "rest": 1}
    assert net.candidates == {"first": (names,), "rest": ((*names, "skip_connect"),) * 2}
    assert net.edges == {"first": ((0, 1),), "rest": ((1, 2), (2, 3))}
    assert set(make(cells=1).alphas) == {"first"}


def test_weight_parameters_exclude_the_alphas() -> None:
    net = make()
    weights, alphas = net.weight_parameters(), list(net.alphas.values())
    assert not {id(w) for w in weights} & {id(a) for a in alphas}
    assert len(weights) + len(alphas) == len(list(net.parameters()))
    assert {f"alphas.{group}" for group in net.alphas} <= set(net.state_dict())
    assert max(float(alpha.detach().abs().max()) for alpha in alphas) < 1e-2


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
                    z = (z - z.mean(0)) / (z.var(0, False) + 1e-5).sqrt()
                elif normalization == "layer":
                    mean, variance = z.mean(1, keepdim=True), z.var(1, False, keepdim=True)
                    z = (z - mean) / (variance + 1e-5).sqrt()
                z = getattr(torch, activation)(z)
                y = torch.cat([z, torch.zeros(len(x), total.shape[1] - int(width)).double()], 1)
            total = total + weights[group][row, column] * y
        x = total
    return F.linear(x, net.classifier.weight, net.classifier.bias)


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_output_is_the_weighted_sum_of_the_candidates(normalization: str, cells: int) -> None:
    """The gradients of input, mixing weights and weights are equal, too."""
    net, x = make(normalization, cells), samples(5, 3, 2, 2).requires_grad_()
    weights = {group: w.requires_grad_() for group, w in mixing(net).items()}
    sources = [x, *weights.values(), *net.weight_parameters()]
    actual, expected = net(x, weights), by_definition(net, normalization, x, weights)
    torch.testing.assert_close(actual, expected, **EXACT)
    direction = samples(5, CLASSES, seed=3)
    outputs = (actual, expected)
    first, second = (
        torch.autograd.grad((y * direction).sum(), sources, retain_graph=True) for y in outputs
    )
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, **EXACT)
        assert bool(b.any())


def test_default_mixing_weights_are_the_softmax_of_the_alphas() -> None:
    net, x = make(), samples(3, 12)
    softmax = {group: alpha.softmax(-1) for group, alpha in net.alphas.items()}
    assert torch.equal(net(x), net(x, softmax))
    sliced = {group: weights[None] for group, weights in softmax.items()}  # one slice per cell
    assert torch.equal(net(x), net(x, sliced))


def discrete_of(net: Any, genotype: Genotype, normalization: str, kept: list[int]) -> Network:
    """Return the genotype's network with the supernet's weights of the layers in ``kept``."""
    discrete = Network(
        genotype, classes=CLASSES, in_channels=12, normalization=normalization, dropout=net.dropout
    ).double()
    width = 12
    with torch.no_grad():
        for discrete_layer, index in zip(discrete.layers, kept, strict=True):
            layer, linear = net.layers[index], discrete_layer[0]  # type: ignore[index]
            linear.weight.copy_(layer.linear.weight[: linear.out_features, :width])
            if linear.bias is not None:
                linear.bias.copy_(layer.linear.bias[: linear.out_features])
            width = linear.out_features
            if normalization == "batch":
                target, source = (
                    next(m for m in module.modules() if isinstance(m, nn.BatchNorm2d))
                    for module in (discrete_layer, layer)
                )
                for name in ("running_mean", "running_var"):
                    getattr(target, name).copy_(getattr(source, name)[:width])
        discrete.classifier.weight.copy_(net.classifier.weight[:, :width])
        discrete.classifier.bias.copy_(net.classifier.bias)
    return discrete


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(
    "names",
    [
        ("tanh_5", "sigmoid_3", "relu_7"),
        ("relu_7", "skip_connect", "tanh_3"),
        ("sigmoid_3", "skip_connect", "skip_connect"),
    ],
)
def test_a_one_hot_mixture_equals_the_discrete_network(
    names: tuple[str, ...], normalization: str, training: bool
) -> None:
    """Outputs are equal, and so are the gradients of the slices of the shared weights."""
    net = make(normalization)
    net(samples(6, 12, seed=5), mixing(net))  # changes the running statistics
    space = Mlp(cells=3, activations=list(CHOICES["activations"]), widths=list(CHOICES["widths"]))
    rows = [row for names in net.candidates.values() for row in names]
    hot = [
        [float(candidate == name) for candidate in row]
        for row, name in zip(rows, names, strict=True)
    ]
    one_hot = {"first": torch.tensor(hot[:1]).double(), "rest": torch.tensor(hot[1:]).double()}
    genotype = space.derive(one_hot, net.candidates)
    kept = [number for number, name in enumerate(names) if name != "skip_connect"]
    assert genotype.layers == tuple(names[number] for number in kept)
    discrete = discrete_of(net, genotype, normalization, kept)
    x = samples(5, 3, 4)
    expected, actual = discrete.train(training)(x), net.train(training)(x, one_hot)
    torch.testing.assert_close(actual, expected, **EXACT)
    for y in (actual, expected):
        y.square().sum().backward()
    shared: Any = net.layers[kept[-1]]
    last: Any = discrete.layers[-1]
    linear, gradient = last[0], shared.linear.weight.grad
    torch.testing.assert_close(
        gradient[: linear.out_features, : linear.in_features], linear.weight.grad, **EXACT
    )
    assert not bool(gradient[linear.out_features :].any())


def test_gradients_of_the_alphas_match_finite_differences() -> None:
    net, x = make("layer"), samples(4, 12)
    target = torch.tensor([0, 1, 2, 3])

    def loss() -> Tensor:
        return F.cross_entropy(net(x), target)

    actual = torch.autograd.grad(loss(), list(net.alphas.values()))
    for alpha, gradient in zip(net.alphas.values(), actual, strict=True):
        for index in [(0, 0), (len(alpha) - 1, 4), (0, alpha.shape[1] - 1)]:
            with torch.no_grad():
                values = []
                for step in (1e-6, -2e-6):
                    alpha[index] += step
                    values.append(float(loss()))
                alpha[index] += 1e-6
            expected = (values[0] - values[1]) / 2e-6
            assert float(gradient[index]) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "options"), [("first_order", {}), ("unrolled", {}), ("unrolled", {"hvp": "exact"})]
)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_hypergradients_leave_the_supernet_unchanged(
    name: str, options: dict[str, Any], normalization: str
) -> None:
    net = make(normalization)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    batch = samples(6, 12), torch.tensor([0, 1, 2, 3, 0, 1])
    gradients = getattr(bilevel, name)(
        net, lambda net, b: F.cross_entropy(net(b[0]), b[1]), batch, batch, optimizer, **options
    )
    assert {group: g.shape for group, g in gradients.items()} == {
        group: alpha.shape for group, alpha in net.alphas.items()
    }
    assert all(bool(g.isfinite().all()) and bool(g.any()) for g in gradients.values())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_inactive_candidates_do_not_contribute_and_get_no_gradient(normalization: str) -> None:
    net, x = make(normalization).eval(), samples(2, 12)
    active = {
        "first": torch.tensor([[False] * 3 + [True, False, True] + [False] * 3]),  # relu
        "rest": torch.tensor([[True] + [False] * 5 + [True] * 4, [False] * 9 + [True]]),
    }
    weights = {group: w.requires_grad_() for group, w in mixing(net).items()}
    ran: list[str] = []
    for name, module in net.named_modules():
        if ".activations." in name:
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    actual = net(x, Mixture(weights, active=active))
    # One activation of the first layer and two of the second run; the third layer is skipped.
    assert ran == ["layers.0.activations.1", "layers.1.activations.0", "layers.1.activations.2"]
    zeroed = {group: w * active[group] for group, w in weights.items()}
    torch.testing.assert_close(actual, net(x, zeroed), **EXACT)
    actual.square().sum().backward()
    for group, w in weights.items():
        assert w.grad is not None
        assert not bool(w.grad[~active[group]].any())
        assert bool(w.grad[active[group]].any())


def test_a_layer_without_active_candidates_outputs_zeros() -> None:
    net, x = make(), samples(2, 12)
    active = {"first": torch.ones(1, 9) > 0, "rest": torch.ones(2, 10) > 0}
    active["rest"][1] = False
    weights = mixing(net)
    actual = net(x, Mixture(weights, active=active))
    torch.testing.assert_close(actual, net.classifier.bias.expand(2, -1))


def test_dropout_of_units_and_skips_acts_only_in_training() -> None:
    net, x = make("none"), samples(64, 12)
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


def test_bfloat16_autocast_stays_close_to_float32() -> None:
    for normalization in NORMALIZATIONS:
        net, x = make(normalization).float(), samples(8, 12).float()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        logits.float().sum().backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
        torch.testing.assert_close(logits.float(), net(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells=0: must be an integer >= 1"),
        ({"in_channels": 0}, "in_channels=0: must be an integer >= 1"),
        ({"activations": ("relu", "step")}, "unknown 'step'; choose from relu, leaky_relu"),
        ({"activations": ()}, "at least one value"),
        ({"widths": (8, 8)}, r"space.widths=\[8, 8\]: must contain"),
        ({"widths": (0,)}, "must be between 1 and 65536"),
        (
            {"normalization": "group"},
            "space.normalization='group' is unknown; choose from batch, layer",
        ),
    ],
)
def test_invalid_arguments_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Supernet(**options)


def test_missing_mixing_weights_are_rejected() -> None:
    net, x = make(), samples(2, 12)
    with pytest.raises(ValueError, match="mixing weights of rest are missing"):
        net(x, {"first": torch.ones(1, 9).double()})


@pytest.mark.parametrize("call", ["recompute_cells", "operation_rows"])
def test_unsupported_features_are_rejected(call: str) -> None:
    with pytest.raises(ValueError, match="the mlp space"):
        getattr(make(), call)()


def test_mask_rejects_genotypes_outside_the_candidates() -> None:
    candidates = make(cells=2).candidates
    for layers, message in (
        (("relu_3",) * 3, "the genotype has 3 layers, but the supernet has 2"),
        (("relu_4",), "relu_4 is not a candidate of a layer of the group first"),
    ):
        with pytest.raises(ValueError, match=message):
            Mlp().mask(Genotype(layers), candidates)
