"""The fast average pooling and its derivatives, compared with PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.grouped_conv import avg_pool3x3

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def images(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 1, 1), (2, 5, 1, 4), (3, 2, 7, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_both_derivatives_match_pytorch(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    actual = []
    for pool in (avg_pool3x3, lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)):
        x = images(*shape).contiguous(memory_format=layout).requires_grad_()
        y = pool(x)
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * images(*shape, seed=3)).sum(), x)
        actual.append((y, first, second))
    for a, b in zip(*actual, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_derivatives_match_finite_differences() -> None:
    x = images(1, 2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(avg_pool3x3, x)
    assert torch.autograd.gradgradcheck(avg_pool3x3, x)


def test_output_dtype_is_the_input_dtype_under_autocast() -> None:
    x = images(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            y = avg_pool3x3(x.to(dtype))
            assert y.dtype == dtype
            limit = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(y.double(), avg_pool3x3(x), rtol=limit, atol=limit)
