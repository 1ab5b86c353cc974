"""Operations, also those of plug-ins, and sets of candidates."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.config import ConfigError, compose
from darts.spaces.cnn import EdgewiseSupernet, Supernet
from darts.spaces.cnn.edge_bundle import Separate, can_stack
from darts.spaces.cnn.operations import FACTORIES, make_operation, register_operation
from darts.spaces.genotype import OPERATIONS, Genotype

SIZES = [(8, 8), (9, 9), (8, 11), (13, 10), (16, 17), (1, 1), (1, 4), (3, 2)]


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_output_sides_are_rounded_up(name: str, stride: int, channels: int) -> None:
    operation = make_operation(name, channels, stride)
    for height, width in SIZES:
        wanted = (2, channels, math.ceil(height / stride), math.ceil(width / stride))
        assert operation(images(2, channels, height, width)).shape == wanted, (height, width)


def test_none_outputs_zeros_for_nan_and_inf() -> None:
    x = torch.full((2, 3, 7, 8), float("nan"))
    x[0] = float("inf")
    for stride in (1, 2):
        y = make_operation("none", 3, stride)(x)
        assert y.shape == (2, 3, math.ceil(7 / stride), 8 // stride)
        assert torch.equal(y, torch.zeros_like(y))


@pytest.mark.parametrize(
    ("name", "weights"), [("sep_conv_7x7", 2 * (49 * 6 + 36)), ("conv_7x1_1x7", 2 * 7 * 36)]
)
def test_number_of_weights_beyond_the_candidates_of_darts(name: str, weights: int) -> None:
    operation = make_operation(name, 6, 1, affine=False)
    assert sum(p.numel() for p in operation.parameters()) == weights
    assert all(p.ndim == 4 for p in operation.parameters())  # no biases


@pytest.mark.parametrize(("name", "reach"), [
    ("sep_conv_3x3", 2), ("sep_conv_5x5", 4), ("sep_conv_7x7", 6),
    ("dil_conv_3x3", 2), ("dil_conv_5x5", 4), ("conv_7x1_1x7", 3),
])  # fmt: skip
def test_receptive_fields(name: str, reach: int) -> None:
    torch.manual_seed(0)  # with other weights, a ReLU between the convolutions may be 0
    operation = make_operation(name, 8, 1).eval()
    x = (images(1, 8, 15, 15).abs() + 1).requires_grad_()
    middle = operation(x)[0, :, 7, 7].square().sum()
    seen = torch.autograd.grad(middle, x)[0].abs().sum((0, 1)).nonzero()
    assert seen.amin(0).tolist() == [7 - reach] * 2
    assert seen.amax(0).tolist() == [7 + reach] * 2
    if name.startswith("dil"):  # every second pixel only
        assert len(seen) == (reach + 1) ** 2


OPTIONS = {"channels": 4, "cells": 3, "classes": 3}


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.linear(x.mean((2, 3))).sigmoid()[:, :, None, None]


def gated(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        make_operation("sep_conv_3x3", channels, stride, affine=affine), Gate(channels)
    )


def biased(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride, padding=1, bias=True),
        nn.BatchNorm2d(channels, affine=affine),
        nn.GELU(),
    )


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr("darts.spaces.cnn.operations.FACTORIES", dict(FACTORIES))
    monkeypatch.setattr(Genotype, "vocabulary", Genotype.vocabulary)
    register_operation("gated", gated)
    register_operation("biased", biased)
    assert Genotype.vocabulary[-2:] == ("gated", "biased")
    return ("skip_connect", "gated", "sep_conv_3x3", "biased")


@pytest.mark.parametrize("partial", [1, 2])
def test_the_fast_supernet_equals_the_edgewise_one(
    operations: tuple[str, ...], partial: int
) -> None:
    nets: list[EdgewiseSupernet] = []
    for make in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        nets.append(make(**OPTIONS, partial=partial, operations=operations).double())
    assert any(isinstance(module, Separate) for module in nets[1].modules())
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for training in (True, False):
        outputs = [net.train(training)(x) for net in nets]
        torch.testing.assert_close(outputs[0], outputs[1])
    for net in nets:
        net.train()(x).square().sum().backward()
    norms = [
        torch.stack([p.grad.square().sum() for p in net.weight_parameters() if p.grad is not None])
        for net in nets
    ]
    torch.testing.assert_close(norms[0].sum(), norms[1].sum())
    for group, alpha in nets[0].alphas.items():
        torch.testing.assert_close(alpha.grad, nets[1].alphas[group].grad)


def test_each_edge_owns_the_weights_of_such_an_operation(operations: tuple[str, ...]) -> None:
    rows = Supernet(**OPTIONS, operations=operations).operation_rows()
    owned = [parameter for name in rows if name.endswith("gated") for parameter, *_ in rows[name]]
    assert len({id(parameter) for parameter in owned}) == len(owned) > 0


def test_wider_supernets_keep_the_weights_of_such_operations(operations: tuple[str, ...]) -> None:
    narrow = Supernet(**OPTIONS, partial=2, operations=operations)
    wide = Supernet(**OPTIONS, partial=1, operations=operations)
    wide.load_state_dict(wide.widened(narrow.state_dict()))
    assert wide(torch.randn(2, 3, 8, 8)).isfinite().all()


def test_an_operation_cannot_be_registered_twice(operations: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="'gated' exists already"):
        register_operation("gated", gated)


@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_the_operations_of_this_project_are_stacked(name: str) -> None:
    for stride in (1, 2):
        assert can_stack(make_operation(name, 4, stride, affine=False, normalize_pool=True))


def space(name: str) -> Any:
    small = ["space.channels=2", "space.cells=3", f"space.candidates={name}"]
    return compose("search", small).space


@pytest.mark.parametrize("stride", [1, 2])
def test_noise_is_standard_normal_and_ignores_its_input(stride: int) -> None:
    noise = make_operation("noise", 16, stride, affine=False)
    assert not list(noise.parameters())
    x = torch.full((8, 16, 9, 10), 1e6).requires_grad_()
    torch.manual_seed(0)
    y = noise(x)
    assert y.shape == x[:, :, ::stride, ::stride].shape
    assert not y.requires_grad
    # Five standard errors of the mean and the variance of normal draws.
    error = 5 / y.numel() ** 0.5
    assert abs(float(y.mean())) < error
    assert abs(float(y.var()) - 1) < error * 2**0.5
    assert not torch.equal(noise(x), y), "other draws each time"
    torch.manual_seed(0)
    assert torch.equal(noise(torch.zeros_like(x)), y)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("s5", "space.candidates='s5' is unknown; choose from all, s1, s2, s3, s4"),
        ("[sep_conv_3x3,conv]", "space.candidates: 'conv' is unknown; choose from none, max_pool"),
        ("[]", "space.candidates=[]: must be a list of operations"),
        ("3", "space.candidates=3: must be a list of operations"),
        ("[[none]]", "space.candidates: ['none'] is unknown"),
    ],
)
def test_other_values_end_in_one_line(value: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        space(value)
