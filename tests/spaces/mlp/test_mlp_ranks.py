"""The supernet of the mlp space computes the same on two ranks as on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from several_ranks import on_ranks
from torch import Tensor, nn

from darts.data import rank_slice
from darts.ops.sync_batch_norm import convert_sync_batch_norm
from darts.spaces.mlp import Supernet

SAMPLES = 7  # four on one rank, three on the other


def make() -> Supernet:
    torch.manual_seed(0)
    return Supernet(activations=("relu", "tanh"), widths=(3, 5), classes=4, in_channels=6).double()


def gradients_and_buffers(net: nn.Module, rows: slice) -> dict[str, dict[str, Tensor]]:
    """Return the gradients of the loss of these rows, and the running statistics."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, 6, 1, 1, generator=draw, dtype=torch.float64)[rows]
    expected = torch.randint(4, (SAMPLES,), generator=draw)[rows]
    (F.cross_entropy(net(x), expected, reduction="sum") / SAMPLES).backward()
    gradients: dict[str, Any] = {name: p.grad for name, p in net.named_parameters()}
    return {"gradients": gradients, "buffers": {name: b.clone() for name, b in net.named_buffers()}}


def run_rank() -> dict[str, dict[str, Tensor]]:
    net = convert_sync_batch_norm(make(), dist.group.WORLD)
    return gradients_and_buffers(net, rank_slice(SAMPLES, dist.get_rank(), 2))


@pytest.mark.slow  # tests/ops covers the synchronization of batch norm
def test_two_ranks_compute_the_same_as_one(tmp_path: Path) -> None:
    expected = gradients_and_buffers(make(), slice(None))
    first, second = on_ranks(run_rank, tmp_path)
    for name, gradient in expected["gradients"].items():
        total = first["gradients"][name] + second["gradients"][name]
        torch.testing.assert_close(total, gradient, rtol=1e-9, atol=1e-9)
    for name, buffer in expected["buffers"].items():
        for rank in (first, second):
            torch.testing.assert_close(rank["buffers"][name], buffer, rtol=1e-9, atol=1e-9)
    assert any(name.endswith("running_var") for name in expected["buffers"])
