"""Folded batch norm, compared with plain batch norm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darts.ops.batch_norm import (
    RunningStats,
    folded_batch_norm,
    normalize,
    normalize_shared,
    num_folds,
)

EPS = 1e-3
# (B, C, H, W) and the number of folded pixels
SHAPES = [((3, 2, 4, 6), 2), ((2, 3, 5, 8), 4), ((2, 1, 1, 4), 4), ((1, 4, 3, 2), 2)]


def plain(x: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0, keepdim=True)
    output = (x - mean) / (variance + EPS).sqrt()
    output = output if scale is None else output * scale.view(1, -1, 1, 1)
    return output, mean.detach().flatten(), variance.detach().flatten()


def draw(shape: tuple[int, ...], scaled: bool) -> list[Tensor]:
    x = (torch.randn(shape, dtype=torch.float64) + 2).contiguous(memory_format=torch.channels_last)
    inputs = [x, torch.randn(shape[1], dtype=torch.float64)] if scaled else [x]
    return [t.requires_grad_() for t in inputs]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("shape", "folds"), SHAPES)
def test_values_and_gradients_match_plain_batch_norm(
    shape: tuple[int, ...], folds: int, scaled: bool
) -> None:
    inputs = draw(shape, scaled)
    x, scale = inputs[0], inputs[1] if scaled else None
    out = torch.randn(shape, dtype=torch.float64)
    actual = folded_batch_norm(x, scale, EPS, folds)
    wanted = plain(x, scale)
    for a, b in zip(actual, wanted, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(
        torch.autograd.grad(actual[0], inputs, out),
        torch.autograd.grad(wanted[0], inputs, out),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    assert [t.requires_grad for t in actual] == [True, False, False]


@pytest.mark.parametrize("scaled", [False, True])
def test_first_and_second_derivatives(scaled: bool) -> None:
    inputs = draw((2, 2, 2, 4), scaled)

    def function(x: Tensor, scale: Tensor | None = None) -> Tensor:
        return folded_batch_norm(x, scale, EPS, 2)[0]

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_large_batches_with_few_channels_are_folded() -> None:
    torch.manual_seed(0)
    x = (torch.randn(64, 16, 32, 32) + 1).contiguous(memory_format=torch.channels_last)
    assert num_folds(x) > 1
    assert num_folds(x.contiguous()) == num_folds(x[:2]) == num_folds(x.double()) == 1
    assert num_folds(x[..., :31].contiguous(memory_format=torch.channels_last)) == 1
    scale = torch.rand(16)
    running = RunningStats(torch.zeros(16), torch.ones(16), 0.1)
    output = normalize(x, scale, EPS, running)
    exact, mean, _ = plain(x.double(), scale.double())
    unbiased = x.double().var(dim=(0, 2, 3))
    torch.testing.assert_close(output.double(), exact, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(running.mean.double(), 0.1 * mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(running.variance.double(), 0.9 + 0.1 * unbiased, rtol=1e-5, atol=0)
    shared = normalize_shared(x, EPS)
    torch.testing.assert_close(
        shared.output.double(), plain(x.double(), None)[0], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(shared.mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared.variance.double(), unbiased, rtol=1e-5, atol=0)
