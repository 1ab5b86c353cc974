"""Batch norm of two processes, compared with ``nn.BatchNorm2d`` on the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from several_ranks import on_ranks
from torch import Tensor, nn

from darts.data.loader import rank_slice
from darts.ops.batch_norm import AllReduceSum
from darts.ops.sync_batch_norm import SyncedBatchNorm2d, convert_sync_batch_norm

SAMPLES = 7  # four on one rank, three on the other
CASES: dict[str, dict[str, Any]] = {
    "affine": {},
    "plain": {"affine": False},
    "other options": {"momentum": 0.3, "eps": 1e-2},
    "mean over all batches": {"momentum": None},
    "without running statistics": {"track_running_stats": False},
}
SHIFTS = {"far from zero": 1e6}


def draw(seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return shift + torch.randn(SAMPLES, 3, 4, 5, generator=generator, dtype=torch.float64)


def derivatives(norm: nn.Module, share: slice, shift: float = 0.0) -> dict[str, Any]:
    """Return output, gradients, second derivatives and buffers for a share of the samples."""
    x, factor, along = draw(0, shift)[share].requires_grad_(), draw(1)[share], draw(2)[share]
    inputs = [x, *norm.parameters()]
    y = norm(x)
    gradients = torch.autograd.grad((factor * y.sin()).sum(), inputs, create_graph=True)
    second = (along * gradients[0]).sum()
    second = second + sum(3 * g.sum() for g in gradients[1:])
    curvature = torch.autograd.grad(second, inputs)
    norm(draw(3, shift)[share])
    norm.eval()
    evaluated = norm(draw(4, shift)[share]) if norm.track_running_stats else y
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
        actual[name] = derivatives(net[0], share)
    for name, shift in SHIFTS.items():
        actual[name] = derivatives(convert_sync_batch_norm(make({}), group)[0], share, shift)
    x = torch.full((2,), float(rank + 1), requires_grad=True)
    total = AllReduceSum.apply(x.square(), group)
    (first,) = torch.autograd.grad((rank + 1) * total.square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(first.sum(), x)
    actual["sum"] = {"total": total.detach(), "first": first.detach(), "again": again}
    norm = convert_sync_batch_norm(nn.Sequential(nn.BatchNorm2d(3)), group)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual["half"] = norm(draw(0)[share].bfloat16()).detach()
    return actual


@pytest.fixture(scope="module")
def actual(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return on_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", [*CASES, *SHIFTS])
def test_two_ranks_match_batch_norm_of_the_whole_batch(actual: Any, case: str) -> None:
    expected = derivatives(make(CASES.get(case, {}))[0], slice(None), SHIFTS.get(case, 0.0))
    for name, value in expected.items():
        by_rank = [rank[case][name] for rank in actual]
        if value.ndim == 4:
            whole = torch.cat(by_rank)
        elif name.startswith("d"):  # the gradient of a shared parameter is the sum over the ranks
            whole = by_rank[0] + by_rank[1]
        else:
            whole = by_rank[0]
            assert torch.equal(by_rank[0], by_rank[1]), name
        tolerance = 1e-10 if case in CASES else 1e-5
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
    expected = nn.BatchNorm2d(3)(draw(0).bfloat16().float())
    torch.testing.assert_close(whole, expected.bfloat16(), rtol=1e-2, atol=1e-2)


def test_without_a_process_group_it_is_batch_norm() -> None:
    x = draw(0).float()
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
