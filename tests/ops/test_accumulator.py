"""Accumulated sums of normalized feature maps, compared with separate norms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from cases import mark_slow
from torch import Tensor

from darts.ops.accumulator import SumAccumulator, add_normalized
from darts.ops.batch_norm import RunningStats, normalize, num_folds

EPS = 1e-3
GROUPS = [[1], [2], [1, 3], [2, 1, 1]]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    return drawn.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else drawn


def images(groups: Sequence[int], size: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    ys = [draw(2, n * 4, *size, seed=seed) + seed for seed, n in enumerate(groups)]
    scales = [draw(n, seed=seed + 10) for seed, n in enumerate(groups)]
    return [y.requires_grad_() for y in ys], [scale.requires_grad_() for scale in scales]


def statistics(y: Tensor) -> RunningStats:
    return RunningStats(y.new_zeros(y.shape[1]), y.new_ones(y.shape[1]), 0.1)


def accumulated_sum(ys: list[Tensor], scales: list[Tensor], running: list[RunningStats]) -> Tensor:
    total = SumAccumulator()
    for y, scale, stats in zip(ys, scales, running, strict=True):
        add_normalized([total] * len(scale), y, scale, EPS, stats)
    return total.result()


def plain_sum(ys: list[Tensor], scales: list[Tensor], running: list[RunningStats]) -> Tensor:
    total = torch.zeros(())
    for y, scale, stats in zip(ys, scales, running, strict=True):
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), correction=0)
        count = y.numel() / y.shape[1]
        with torch.no_grad():
            stats.mean.copy_(0.1 * mean)
            stats.variance.copy_(0.9 + 0.1 * variance * count / (count - 1))
        normal = (y - mean.view(1, -1, 1, 1)) / (variance + EPS).sqrt().view(1, -1, 1, 1)
        parts = normal.unflatten(1, (len(scale), -1))  # (B, groups, C, H, W)
        total = total + (scale.view(1, -1, 1, 1, 1) * parts).sum(1)
    return total


@pytest.mark.parametrize(
    ("groups", "folds", "size"),
    mark_slow(itertools.product(GROUPS, [False, True], [(4, 8), (5, 3), (1, 2)]), except_every=5),
)
def test_sum_statistics_and_gradients_match_separate_norms(
    groups: list[int], folds: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if folds:
        monkeypatch.setattr(
            "darts.ops.accumulator.num_folds", lambda x: 2 if x.shape[3] % 2 == 0 else 1
        )
    actual = []
    for function in (accumulated_sum, plain_sum):
        ys, scales = images(groups, size)
        running = [statistics(y.detach()) for y in ys]
        total = function(ys, scales, running)
        gradients = torch.autograd.grad(total, [*ys, *scales], draw(2, 4, *size, seed=5))
        stats = [t for r in running for t in (r.mean, r.variance)]
        actual.append([total.detach(), *gradients, *stats])
    torch.testing.assert_close(*actual, rtol=1e-9, atol=1e-9)


def test_each_edge_is_added_to_its_own_sum() -> None:
    """Edges 0 and 2 share a sum; the sum of edge 1 begins with another term."""
    (y,), (scale,) = images([3], (3, 4))
    term = draw(2, 4, 3, 4, seed=7).requires_grad_()
    out = [draw(2, 4, 3, 4, seed=seed) for seed in (8, 9)]
    results = []
    totals = [SumAccumulator(), SumAccumulator()]
    totals[1].add(term * 2)
    running = statistics(y.detach())
    add_normalized([totals[0], totals[1], totals[0]], y, scale, EPS, running)
    results.append([total.result() for total in totals])
    edges = [y[:, 4 * e : 4 * e + 4] for e in range(3)]
    norms = [plain_sum([e], [scale[i, None]], [statistics(e)]) for i, e in enumerate(edges)]
    results.append([norms[0] + norms[2], 2 * term + norms[1]])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    gradients = [torch.autograd.grad(sums, [y, scale, term], out) for sums in results]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_a_view_stays_as_it_is() -> None:
    x = draw(2, 8, 3, 4)
    before = x.clone()
    total = SumAccumulator()
    for view in x.chunk(2, dim=1):
        total.add_view(view)
    torch.testing.assert_close(total.result(), before[:, :4] + before[:, 4:])
    assert torch.equal(x, before)


def test_first_and_second_derivatives() -> None:
    ys, scales = images([2, 1], (2, 3))

    def function(*inputs: Tensor) -> Tensor:
        running = [statistics(y.detach()) for y in inputs[:2]]
        return accumulated_sum(list(inputs[:2]), list(inputs[2:]), running)

    assert torch.autograd.gradcheck(function, [*ys, *scales], fast_mode=True)
    assert torch.autograd.gradgradcheck(function, [*ys, *scales], fast_mode=True)


@pytest.mark.parametrize("mean", [0, 30])
def test_single_precision_error_is_that_of_separate_norms(mean: int) -> None:
    y = mean + draw(16, 8, 64, 128, dtype=torch.float32)
    assert num_folds(y) > 1
    scale = torch.tensor([0.5])
    exact = plain_sum([y.double()] * 3, [scale.double()] * 3, [statistics(y.double())] * 3)
    separate = [normalize(y, scale.repeat(8), EPS, statistics(y)) for _ in range(3)]
    limit, error = (
        float((actual.double() - exact).norm() / exact.norm())
        for actual in (
            sum(separate, torch.zeros(())),
            accumulated_sum([y] * 3, [scale] * 3, [statistics(y)] * 3),
        )
    )
    assert error < 1.5 * limit < 1e-4
