"""The supernet of the mlp space equals the sum over its candidates, one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images
from torch import Tensor, nn

from darts.spaces.mixture import Mixture
from darts.spaces.mlp.supernet import Supernet

CLASSES = 4
CHOICES: dict[str, Any] = {"activations": ("sigmoid", "relu", "tanh"), "widths": (3, 7, 5)}
NORMALIZATIONS = ["batch", "layer", "none"]


def make(normalization: str = "batch", cells: int = 3, **options: Any) -> Supernet:
    torch.manual_seed(0)
    sizes = {"classes": CLASSES, "in_channels": 12, "cells": cells, **CHOICES, **options}
    return Supernet(normalization=normalization, **sizes).double()


def mixing(net: Supernet, seed: int = 2) -> dict[str, Tensor]:
    return {g: images(*shape, seed=seed).softmax(-1) for g, shape in net.shapes.items()}


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
    """So are the gradients of input, mixing weights and weights."""
    net, x = make(normalization, cells), images(5, 3, 2, 2).requires_grad_()
    weights = {group: w.requires_grad_() for group, w in mixing(net).items()}
    sources = [x, *weights.values(), *net.weight_parameters()]
    actual, expected = net(x, weights), by_definition(net, normalization, x, weights)
    torch.testing.assert_close(actual, expected, **EXACT)
    direction = images(5, CLASSES, seed=3)
    outputs = (actual, expected)
    first, second = (
        torch.autograd.grad((y * direction).sum(), sources, retain_graph=True) for y in outputs
    )
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
