"""Batch norm that returns its statistics, and that of two processes, compared with PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from cases import assert_same_gradients, check_derivatives, draw
from several_ranks import on_ranks
from torch import Tensor, nn

from darts.data.loader import rank_slice
from darts.ops.batch_norm import (
    AllReduceSum,
    FoldedNorm,
    RunningStats,
    normalize,
    normalize_shared,
    num_folds,
)
from darts.ops.sync_batch_norm import SyncedBatchNorm2d, convert_sync_batch_norm

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
    variance, mean = torch.var_mean(x.detach(), dim=(0, 2, 3), correction=0)
    return F.batch_norm(x, None, None, scale, None, True, 0.0, EPS), mean, variance


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
    expected = plain_norm(x.double(), None)[0]
    torch.testing.assert_close(shared.output.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared.mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared.variance.double(), unbiased, rtol=1e-5, atol=0)


SAMPLES = 7  # four on one rank, three on the other
CASES: dict[str, dict[str, Any]] = {
    "affine": {},
    "plain": {"affine": False},
    "other options": {"momentum": 0.3, "eps": 1e-2},
    "mean over all batches": {"momentum": None},
    "without running statistics": {"track_running_stats": False},
    "far from zero": {},
}
SHIFTS = {"far from zero": 1e6}


def drawn(seed: int, shift: float = 0.0) -> Tensor:
    return shift + draw(SAMPLES, 3, 4, 5, seed=seed)


def derivatives(norm: nn.Module, share: slice, shift: float = 0.0) -> dict[str, Any]:
    """Return output, gradients, second derivatives and buffers for a share of the samples."""
    x, factor, along = drawn(0, shift)[share].requires_grad_(), drawn(1)[share], drawn(2)[share]
    inputs = [x, *norm.parameters()]
    y = norm(x)
    gradients = torch.autograd.grad((factor * y.sin()).sum(), inputs, create_graph=True)
    second = (along * gradients[0]).sum()
    second = second + sum(3 * g.sum() for g in gradients[1:])
    curvature = torch.autograd.grad(second, inputs)
    norm(drawn(3, shift)[share])
    norm.eval()
    evaluated = norm(drawn(4, shift)[share]) if norm.track_running_stats else y
    actual = {"y": y, "dx": gradients[0], "ddx": curvature[0], "evaluated": evaluated}
    actual |= {f"d{i}": g for i, g in enumerate(gradients[1:])}
    actual |= {f"dd{i}": g for i, g in enumerate(curvature[1:])}
    return {k: v.detach() for k, v in actual.items()} | {
        name: buffer.clone() for name, buffer in norm.named_buffers()
    }


def make(options: dict[str, Any]) -> nn.Sequential:
    norm = nn.BatchNorm2d(3, **options).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.tensor([0.5, -1.5, 2.0]))
    return nn.Sequential(norm)


def work() -> dict[str, Any]:
    torch.manual_seed(0)
    group, rank = dist.group.WORLD, dist.get_rank()
    share = rank_slice(SAMPLES, rank, 2)
    actual: dict[str, Any] = {}
    for name, options in CASES.items():
        net = convert_sync_batch_norm(make(options), group)
        actual[name] = derivatives(net[0], share, SHIFTS.get(name, 0.0))
    x = torch.full((2,), float(rank + 1), requires_grad=True)
    total = AllReduceSum.apply(x.square(), group)
    (first,) = torch.autograd.grad((rank + 1) * total.square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(first.sum(), x)
    actual["sum"] = {"total": total.detach(), "first": first.detach(), "again": again}
    norm = convert_sync_batch_norm(nn.Sequential(nn.BatchNorm2d(3)), group)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual["half"] = norm(drawn(0)[share].bfloat16()).detach()
    return actual


@pytest.fixture(scope="module")
def actual(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return on_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_match_batch_norm_of_the_whole_batch(actual: Any, case: str) -> None:
    expected = derivatives(make(CASES[case])[0], slice(None), SHIFTS.get(case, 0.0))
    for name, value in expected.items():
        by_rank = [rank[case][name] for rank in actual]
        if value.ndim == 4:
            whole = torch.cat(by_rank)
        elif name.startswith("d"):  # the gradient of a shared parameter is the sum over the ranks
            whole = by_rank[0] + by_rank[1]
        else:
            whole = by_rank[0]
            assert torch.equal(by_rank[0], by_rank[1]), name
        tolerance = 1e-5 if case in SHIFTS else 1e-10
        torch.testing.assert_close(whole, value, rtol=tolerance, atol=tolerance, msg=name)


def test_sum_over_ranks_can_be_differentiated_twice(actual: Any) -> None:
    # With x = 1 and 2, s = 1 + 4. For each of two entries, the losses are s^2 and 2 s^2; their sum
    # 3 s^2 has the gradient 12 s x_r. The sum of this gradient over the ranks has the gradient
    # 12 s + 24 x_r (x_1 + x_2).
    for rank, x in enumerate((1.0, 2.0)):
        got = actual[rank]["sum"]
        assert got["total"].tolist() == [5.0] * 2
        assert got["first"].tolist() == [60.0 * x] * 2
        assert got["again"].tolist() == [60.0 + 24.0 * x * 3.0] * 2


def test_half_precision_input_is_normalized_in_single_precision(actual: Any) -> None:
    whole = torch.cat([rank["half"] for rank in actual])
    assert whole.dtype == torch.bfloat16
    expected = nn.BatchNorm2d(3)(drawn(0).bfloat16().float())
    torch.testing.assert_close(whole, expected.bfloat16(), rtol=1e-2, atol=1e-2)


def test_without_a_process_group_it_is_batch_norm() -> None:
    x = drawn(0).float()
    ours, theirs = SyncedBatchNorm2d(3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)


def test_conversion_keeps_parameters_and_names() -> None:
    class Other(nn.Module):
        process_group = None

    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3)))
    net.append(Other())
    before = {name: id(value) for name, value in net.named_parameters()}
    keys = list(net.state_dict())
    group = object()
    assert convert_sync_batch_norm(net, group) is net
    assert {name: id(value) for name, value in net.named_parameters()} == before
    assert list(net.state_dict()) == keys
    assert isinstance(net[1], SyncedBatchNorm2d)
    assert isinstance(net[2][0], SyncedBatchNorm2d)
    assert net[1].process_group is net[2][0].process_group is net[3].process_group is group
