"""Weighted, grouped and accumulated sums, compared with plain sums and separate norms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import reduce

import pytest
import torch
import torch.nn.functional as F
from cases import check_derivatives, draw, mark_slow
from torch import Tensor

from darts.ops.accumulator import SumAccumulator, add_normalized
from darts.ops.batch_norm import RunningStats, normalize, num_folds
from darts.ops.sums import dense_gradient, weighted_sum

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def plain(terms: list[Tensor], weights: list[Tensor]) -> Tensor:
    return reduce(torch.add, (w * t for t, w in zip(terms, weights, strict=True)))


def derivatives(
    function: object, terms: list[Tensor], weights: Tensor, out: Tensor
) -> list[Tensor]:
    assert callable(function)
    y = function(terms, list(weights.unbind()))
    return [y, *torch.autograd.grad(y, [*terms, weights], out)]


@pytest.mark.parametrize("outgoing", LAYOUTS)
@pytest.mark.parametrize("layouts", [LAYOUTS[:1] * 3, LAYOUTS[1:] * 3, [*LAYOUTS, LAYOUTS[0]]])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_weighted_sum_matches_plain_sum_in_all_layouts(
    count: int, layouts: list[torch.memory_format], outgoing: torch.memory_format
) -> None:
    terms = [
        draw(2, 3, 4, 5, seed=seed).contiguous(memory_format=layout).requires_grad_()
        for seed, layout in enumerate(layouts[:count])
    ]
    weights, out = draw(count, seed=7).requires_grad_(), draw(2, 3, 4, 5, seed=8)
    out = out.contiguous(memory_format=outgoing)
    originals = [term.detach().clone() for term in terms]
    actual, expected = (derivatives(f, terms, weights, out) for f in (weighted_sum, plain))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms, originals, rtol=0, atol=0)


def test_first_and_second_derivatives() -> None:
    inputs = [draw(1, 2, 2, 3, seed=seed).requires_grad_() for seed in (0, 1, 2)]
    inputs += [weight.requires_grad_() for weight in draw(3, seed=7).unbind()]
    check_derivatives(lambda *each: weighted_sum(each[:3], each[3:]), *inputs)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_bfloat16_terms_keep_the_precision_of_the_weights(kind: torch.dtype) -> None:
    terms = [draw(4, 3, 8, 8, seed=seed, dtype=torch.bfloat16) for seed in (0, 1)]
    terms = [term.requires_grad_() for term in terms]
    weights = draw(2, seed=7, dtype=kind).requires_grad_()
    out = draw(4, 3, 8, 8, seed=8, dtype=torch.bfloat16)
    actual = derivatives(weighted_sum, terms, weights, out)
    exact = [tensor.detach().double().requires_grad_() for tensor in (*terms, weights)]
    expected = derivatives(plain, exact[:2], exact[2], out.double())
    assert [x.dtype for x in actual] == [torch.bfloat16] * 3 + [kind]
    for a, b in zip(actual, expected, strict=True):
        difference = (a.double() - b).detach()
        assert float(difference.norm() / b.detach().norm()) < 2**-7
    if kind == torch.float32:  # products are summed in the precision of the weights
        torch.testing.assert_close(actual[-1].double(), expected[-1], rtol=1e-4, atol=1e-4)


def test_dense_gradient_is_the_identity_with_a_contiguous_gradient() -> None:
    x = draw(2, 3, 4, 5).requires_grad_()
    y = dense_gradient(x)
    assert torch.equal(y, x)
    gaps = draw(2, 9, 4, 5, seed=1)[:, 3:6]
    received: list[Tensor] = []
    middle = x * 1
    middle.register_hook(received.append)
    (gradient,) = torch.autograd.grad(dense_gradient(middle), x, gaps)
    assert torch.equal(gradient, gaps)
    assert received[0].is_contiguous(memory_format=torch.channels_last)
    check_derivatives(dense_gradient, x)


def test_dense_gradient_keeps_the_layout_of_a_single_sample_in_inference() -> None:
    x = torch.randn(1, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    assert dense_gradient(x).stride() == x.stride()
    with torch.no_grad():
        y = dense_gradient(x.requires_grad_())
    pooled = F.max_pool2d(y, 3, 1, 1)
    assert pooled.is_contiguous(memory_format=torch.channels_last)


EPS = 1e-3
GROUPS = [[1], [2], [1, 3], [2, 1, 1]]


def dense(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = draw(*shape, seed=seed, dtype=dtype)
    return drawn.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else drawn


def images(groups: Sequence[int], size: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    ys = [dense(2, n * 4, *size, seed=seed) + seed for seed, n in enumerate(groups)]
    scales = [dense(n, seed=seed + 10) for seed, n in enumerate(groups)]
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
        normal = F.batch_norm(y, stats.mean, stats.variance, None, None, True, 0.1, EPS)
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
        monkeypatch.setattr("darts.ops.accumulator.num_folds", lambda x: 2 - x.shape[3] % 2)
    actual = []
    for function in (accumulated_sum, plain_sum):
        ys, scales = images(groups, size)
        running = [statistics(y.detach()) for y in ys]
        total = function(ys, scales, running)
        gradients = torch.autograd.grad(total, [*ys, *scales], dense(2, 4, *size, seed=5))
        stats = [t for r in running for t in (r.mean, r.variance)]
        actual.append([total.detach(), *gradients, *stats])
    torch.testing.assert_close(*actual, rtol=1e-9, atol=1e-9)


def test_each_edge_is_added_to_its_own_sum() -> None:
    """Edges 0 and 2 share a sum; the sum of edge 1 begins with another term."""
    (y,), (scale,) = images([3], (3, 4))
    term = dense(2, 4, 3, 4, seed=7).requires_grad_()
    out = [dense(2, 4, 3, 4, seed=seed) for seed in (8, 9)]
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
    x = dense(2, 8, 3, 4)
    before = x.clone()
    total = SumAccumulator()
    for view in x.chunk(2, dim=1):
        total.add_view(view)
    torch.testing.assert_close(total.result(), before[:, :4] + before[:, 4:])
    assert torch.equal(x, before)


def test_derivatives_of_an_accumulated_sum() -> None:
    ys, scales = images([2, 1], (2, 3))

    def function(*inputs: Tensor) -> Tensor:
        running = [statistics(y.detach()) for y in inputs[:2]]
        return accumulated_sum(list(inputs[:2]), list(inputs[2:]), running)

    check_derivatives(function, *ys, *scales, fast=True)


@pytest.mark.parametrize("mean", [0, 30])
def test_single_precision_error_is_that_of_separate_norms(mean: int) -> None:
    y = mean + dense(16, 8, 64, 128, dtype=torch.float32)
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
