"""Operations: shapes at many image sizes, numbers of weights, and receptive fields."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from darts.spaces.cnn.operations import make_operation
from darts.spaces.genotype import OPERATIONS

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
