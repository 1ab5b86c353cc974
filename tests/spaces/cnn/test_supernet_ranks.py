"""The fast supernet on two ranks with synchronized statistics, against one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
import torch.nn.functional as F
from cnn_supernets import REPEATABLE, assert_same, fused, gradients, images, labels, make_pair
from several_ranks import on_ranks
from torch import Tensor, nn

from darts.data import rank_slice
from darts.ops.sync_batch_norm import convert_sync_batch_norm

SAMPLES = 7  # four on one rank, three on the other
OPTIONS: dict[str, Any] = {"cells": 3, "channels": 2, "operations": REPEATABLE}


def step(net: nn.Module, share: slice) -> dict[str, dict[str, Tensor]]:
    """Return gradients of this share of the loss, and buffers."""
    x, expected = images(SAMPLES, 3, 9, 8)[share], labels(SAMPLES)[share]
    loss = F.cross_entropy(net(x), expected, reduction="sum") / SAMPLES
    loss.backward()
    return {
        "gradients": gradients(net),
        "buffers": {name: buffer.clone() for name, buffer in net.named_buffers()},
    }


def work() -> dict[str, dict[str, Tensor]]:
    net = convert_sync_batch_norm(make_pair(**OPTIONS).fast, dist.group.WORLD)
    return step(net, rank_slice(SAMPLES, dist.get_rank(), 2))


@pytest.mark.slow
def test_two_ranks_match_one_process(tmp_path: Path) -> None:
    slow = make_pair(**OPTIONS).slow
    expected = {name: fused(slow, values) for name, values in step(slow, slice(None)).items()}
    one, other = on_ranks(work, tmp_path)
    total = {name: one["gradients"][name] + other["gradients"][name] for name in one["gradients"]}
    assert_same(total, expected["gradients"])
    for rank in (one, other):
        assert_same(rank["buffers"], expected["buffers"])
