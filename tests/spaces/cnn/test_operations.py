"""Operations at many image sizes: shapes, and values against explicit sums over pixels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.spaces.cnn.operations import FactorizedReduce, make_operation
from darts.spaces.genotype import OPERATIONS

SIZES = [(8, 8), (9, 9), (8, 11), (13, 10), (16, 17), (1, 1), (1, 4), (3, 2)]


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def window(x: Tensor, row: int, column: int) -> Tensor:
    """Return the pixels of a 3x3 window inside the image, ``(B, C, pixels)``."""
    inside = x[..., max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return inside.flatten(-2)


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


@pytest.mark.parametrize("outputs", [2, 4, 6])
@pytest.mark.parametrize("size", [(8, 8), (16, 10), (2, 2)])
def test_factorized_reduce_matches_the_published_formula_on_even_sizes(
    size: tuple[int, int], outputs: int
) -> None:
    reduce = FactorizedReduce(3, outputs).double()
    x = images(4, 3, *size).double()
    first, second = reduce.even.weight[:, :, 0, 0], reduce.odd.weight[:, :, 0, 0]
    assert first.shape == second.shape == (outputs // 2, 3)
    active = x.clamp(min=0)
    # Published: conv_1(x) beside conv_2(x[:, :, 1:, 1:]), both pointwise with stride 2.
    left = torch.einsum("oc,bchw->bohw", first, active[:, :, 0::2, 0::2])
    right = torch.einsum("oc,bchw->bohw", second, active[:, :, 1::2, 1::2])
    both = torch.cat([left, right], 1)
    mean = both.mean((0, 2, 3), keepdim=True)
    variance = both.var((0, 2, 3), unbiased=False, keepdim=True)
    torch.testing.assert_close(reduce(x), (both - mean) / (variance + 1e-5).sqrt())


@pytest.mark.parametrize(("height", "width"), [(7, 7), (7, 8), (8, 7), (1, 1)])
def test_factorized_reduce_reads_zeros_beyond_odd_sides(height: int, width: int) -> None:
    reduce = FactorizedReduce(2, 5).double().eval()
    x = images(2, 2, height, width).double()
    padded = torch.zeros(2, 2, height + 1, width + 1, dtype=torch.float64)
    padded[..., :height, :width] = x.clamp(min=0)
    even = torch.stack(
        [
            torch.stack([padded[:, :, 2 * i, 2 * j] for j in range((width + 1) // 2)], -1)
            for i in range((height + 1) // 2)
        ],
        -2,
    )
    odd = torch.stack(
        [
            torch.stack([padded[:, :, 2 * i + 1, 2 * j + 1] for j in range((width + 1) // 2)], -1)
            for i in range((height + 1) // 2)
        ],
        -2,
    )
    wanted = torch.cat([F.conv2d(even, reduce.even.weight), F.conv2d(odd, reduce.odd.weight)], 1)
    # Untrained running statistics: mean 0 and variance 1.
    torch.testing.assert_close(reduce(x), wanted / math.sqrt(1 + 1e-5))


def test_factorized_reduce_gives_an_odd_channel_to_the_second_half() -> None:
    reduce = FactorizedReduce(3, 5)
    assert (reduce.even.out_channels, reduce.odd.out_channels) == (2, 3)
    assert reduce(images(2, 3, 5, 6)).shape == (2, 5, 3, 3)
    with pytest.raises(ValueError, match="at least 2 output channels, got 1"):
        FactorizedReduce(3, 1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_pools_ignore_the_padding(size: tuple[int, int], stride: int) -> None:
    x = images(2, 3, *size).double() + 5  # padding by zeros would pull averages down
    mean = make_operation("avg_pool_3x3", 3, stride)(x)
    largest = make_operation("max_pool_3x3", 3, stride)(-x)
    for i in range(mean.shape[2]):
        for j in range(mean.shape[3]):
            seen = window(x, stride * i, stride * j)
            torch.testing.assert_close(mean[:, :, i, j], seen.mean(-1))
            torch.testing.assert_close(largest[:, :, i, j], -seen.amin(-1))
    constant = torch.full((1, 3, *size), 7.0)
    pooled = make_operation("avg_pool_3x3", 3, stride)(constant)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 7.0))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("none", 0),
        ("max_pool_3x3", 0),
        ("avg_pool_3x3", 0),
        ("skip_connect", 0),
        ("sep_conv_3x3", 2 * (9 * 6 + 36)),
        ("sep_conv_5x5", 2 * (25 * 6 + 36)),
        ("sep_conv_7x7", 2 * (49 * 6 + 36)),
        ("dil_conv_3x3", 9 * 6 + 36),
        ("dil_conv_5x5", 25 * 6 + 36),
        ("conv_7x1_1x7", 2 * 7 * 36),
    ],
)
def test_number_of_weights(name: str, weights: int) -> None:
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
