"""Batch norm that returns its statistics, compared with PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, check_derivatives, draw
from torch import Tensor, nn

from darts.ops.batch_norm import FoldedNorm, RunningStats, normalize, normalize_shared, num_folds

EPS = 1e-3
SIZES = [(4, 3, 5, 6), (2, 1, 1, 1), (1, 4, 1, 2), (3, 8, 4, 4)]


def unused_stats(channels: int) -> RunningStats:
    """Return running statistics that the test does not check."""
    zeros = torch.zeros(channels, dtype=torch.float64)
    return RunningStats(zeros, zeros + 1, 0.1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scaled", [False, True], ids=["unscaled", "scaled"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients_match_batch_norm(
    size: tuple[int, ...], scaled: bool, layout: torch.memory_format
) -> None:
    x = (1 + 2 * draw(*size)).contiguous(memory_format=layout).requires_grad_()
    scale = draw(size[1], seed=1).requires_grad_() if scaled else None
    inputs = [x, scale] if scale is not None else [x]
    actual = normalize(x, scale, EPS, unused_stats(size[1]))
    wanted = F.batch_norm(x, None, None, scale, None, True, 0.0, EPS)
    assert_same_gradients(actual, wanted, inputs, 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_running_statistics_match_batch_norm(size: tuple[int, ...], dtype: torch.dtype) -> None:
    norm = nn.BatchNorm2d(size[1], eps=1e-5, momentum=0.3, affine=False).to(dtype)
    alone, shared = (
        RunningStats(torch.zeros(size[1], dtype=dtype), torch.ones(size[1], dtype=dtype), 0.3)
        for _ in range(2)
    )
    for seed in range(3):
        # The variances range down to far below eps.
        x = (3 + draw(*size, seed=seed) * torch.logspace(-4, 2, size[1])[:, None, None]).to(dtype)
        norm(x)
        normalize(x.requires_grad_(), torch.ones(size[1], dtype=dtype), 1e-5, alone)
        _, mean, variance = normalize_shared(x, 1e-5)
        shared.update(mean, variance)
    limit = 1e-5 if dtype == torch.float32 else 1e-10
    for running in (alone, shared):
        torch.testing.assert_close(running.mean, norm.running_mean, rtol=limit, atol=limit)
        torch.testing.assert_close(running.variance, norm.running_var, rtol=limit, atol=limit)


def test_shared_statistics_carry_no_gradient() -> None:
    x = draw(4, 3, 5, 6).requires_grad_()
    actual = normalize_shared(x, EPS)
    assert actual.output.requires_grad
    assert not actual.mean.requires_grad
    assert not actual.variance.requires_grad
    torch.testing.assert_close(actual.mean, x.detach().mean((0, 2, 3)))
    torch.testing.assert_close(actual.variance, x.detach().var((0, 2, 3)))
    torch.testing.assert_close(actual.output, normalize(x, None, EPS, unused_stats(3)))


@pytest.mark.parametrize("value", [0.0, 0.5, 1e3])
def test_constant_channels_stay_finite(value: float) -> None:
    x = draw(4, 3, 5, 6).float()
    x[:, 1] = value
    actual = normalize_shared(x.requires_grad_(), 1e-5)
    (gradient,) = torch.autograd.grad(actual.output.square().sum(), x)
    assert gradient.isfinite().all()
    wanted = F.batch_norm(x, None, None, None, None, True, 0.0, 1e-5)
    torch.testing.assert_close(actual.output, wanted)
    torch.testing.assert_close(actual.variance[1], torch.tensor(0.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shared", [False, True])
def test_bfloat16_statistics_are_computed_in_single_precision(shared: bool) -> None:
    x = (1 + draw(16, 4, 8, 8)).bfloat16()
    exact = x.double()
    if shared:
        output, mean, variance = normalize_shared(x, 1e-5)
    else:
        mean, variance = torch.zeros(4), torch.ones(4)
        output = normalize(x, None, 1e-5, RunningStats(mean, variance, 1.0))
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(mean.double(), exact.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(variance.double(), exact.var((0, 2, 3)), rtol=1e-5, atol=1e-5)
    wanted = F.batch_norm(exact, None, None, None, None, True, 0.0, 1e-5)
    assert float((output.double() - wanted).norm() / wanted.norm()) < 2**-8


@pytest.mark.parametrize("scale", [None, torch.ones(3)])
def test_single_value_per_channel_raises_an_error(scale: Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"more than one value per channel, got \(1, 3, 1, 1\)"):
        normalize(torch.zeros(1, 3, 1, 1), scale, EPS, unused_stats(3))


# (B, C, H, W) and the number of folded pixels
FOLDED_SHAPES = [((3, 2, 4, 6), 2), ((2, 3, 5, 8), 4), ((2, 1, 1, 4), 4), ((1, 4, 3, 2), 2)]


def plain_norm(x: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0, keepdim=True)
    output = (x - mean) / (variance + EPS).sqrt()
    output = output if scale is None else output * scale.view(1, -1, 1, 1)
    return output, mean.detach().flatten(), variance.detach().flatten()


def folded_inputs(shape: tuple[int, ...], scaled: bool) -> list[Tensor]:
    x = (torch.randn(shape, dtype=torch.float64) + 2).contiguous(memory_format=torch.channels_last)
    inputs = [x, torch.randn(shape[1], dtype=torch.float64)] if scaled else [x]
    return [t.requires_grad_() for t in inputs]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("shape", "folds"), FOLDED_SHAPES)
def test_folding_matches_plain_batch_norm(shape: tuple[int, ...], folds: int, scaled: bool) -> None:
    inputs = folded_inputs(shape, scaled)
    x, scale = inputs[0], inputs[1] if scaled else None
    actual = FoldedNorm.apply(x, scale, EPS, folds)
    wanted = plain_norm(x, scale)
    torch.testing.assert_close(actual[1:], wanted[1:])
    assert_same_gradients(actual[0], wanted[0], inputs, 1e-7)
    assert [t.requires_grad for t in actual] == [True, False, False]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, scale=None: normalize(x, scale, EPS, unused_stats(2)),
        lambda x, scale=None: FoldedNorm.apply(x, scale, EPS, 2)[0],
    ],
    ids=["plain", "folded"],
)
def test_first_and_second_derivatives(function: Any, scaled: bool) -> None:
    check_derivatives(function, *folded_inputs((2, 2, 2, 4), scaled))


def test_large_batches_with_few_channels_are_folded() -> None:
    torch.manual_seed(0)
    x = (torch.randn(64, 16, 32, 32) + 1).contiguous(memory_format=torch.channels_last)
    assert num_folds(x) > 1
    assert num_folds(x.contiguous()) == num_folds(x[:2]) == num_folds(x.double()) == 1
    assert num_folds(x[..., :31].contiguous(memory_format=torch.channels_last)) == 1
    scale = torch.rand(16)
    running = RunningStats(torch.zeros(16), torch.ones(16), 0.1)
    output = normalize(x, scale, EPS, running)
    exact, mean, _ = plain_norm(x.double(), scale.double())
    unbiased = x.double().var(dim=(0, 2, 3))
    torch.testing.assert_close(output.double(), exact, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(running.mean.double(), 0.1 * mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(running.variance.double(), 0.9 + 0.1 * unbiased, rtol=1e-5, atol=0)
    shared = normalize_shared(x, EPS)
    torch.testing.assert_close(
        shared.output.double(), plain_norm(x.double(), None)[0], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(shared.mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared.variance.double(), unbiased, rtol=1e-5, atol=0)
