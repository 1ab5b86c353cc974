"""The fast supernet of NAS-Bench-201 computes what the edge-wise one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from both_nas201 import (
    EXACT,
    assert_same,
    backward,
    check,
    fused,
    gradients,
    images,
    labels,
    make_pair,
)
from several_ranks import on_ranks
from torch import Tensor, nn

from darts.bilevel import first_order, unrolled
from darts.data import rank_slice
from darts.ops.sync_batch_norm import convert_sync_batch_norm
from darts.spaces.mixture import Mixture
from darts.spaces.nas201 import PRIMITIVES, EdgewiseSupernet, Supernet, fuse_state_dict

CANDIDATE_SETS = [*((name,) for name in PRIMITIVES), ("nor_conv_3x3", "none", "skip_connect")]


@pytest.mark.parametrize("operations", [*CANDIDATE_SETS, PRIMITIVES], ids="+".join)
def test_every_operation_at_odd_sizes(operations: tuple[str, ...]) -> None:
    check(make_pair(operations=operations), images(3, 3, 9, 7))


@pytest.mark.parametrize(
    "options",
    [
        {"cells": 2},
        {"partial": 2},
        {"partial": 4},
        {"auxiliary_skip": True},
        {"auxiliary_skip": True, "partial": 2, "operations": ("none", "nor_conv_1x1")},
        {"channels": 1, "in_channels": 1},
    ],
    ids=str,
)
def test_options(options: dict[str, Any]) -> None:
    check(make_pair(**options), images(3, options.get("in_channels", 3), 8, 9))


def masks(kind: str, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    chosen = torch.randint(columns, (6, 2), generator=generator)
    mask = F.one_hot(chosen[:, 0], columns).bool()
    if kind == "two an edge":
        mask |= F.one_hot(chosen[:, 1], columns).bool()
    elif kind == "convolutions of the outer edges":
        mask = torch.zeros(6, columns, dtype=torch.bool)
        mask[[0, 3], 3] = True  # of the three that leave node 0 the first and the last
    elif kind == "nothing":
        mask = torch.zeros(6, columns, dtype=torch.bool)
    return mask


@pytest.mark.parametrize("slices", [(), (3,)], ids=["shared", "a slice a cell"])
@pytest.mark.parametrize(
    "kind", ["one an edge", "two an edge", "convolutions of the outer edges", "nothing"]
)
def test_active_operations_alone(kind: str, slices: tuple[int, ...]) -> None:
    pair = make_pair(partial=2, auxiliary_skip=True)
    found = []
    for net in pair:
        table = images(*slices, 6, 6, seed=5).requires_grad_()
        bypass = images(6, seed=6).requires_grad_()
        mixture = Mixture({"cell": table}, bypass={"cell": bypass}, active={"cell": masks(kind, 6)})
        logits = backward(net, images(3, 3, 8, 9), mixture)
        found.append({"logits": logits, "bypass": bypass.grad, "table": table.grad})
        off = ~masks(kind, 6).expand_as(table)
        assert table.grad is None or not table.grad[off].any()
    for name in ("logits", "bypass", "table"):
        torch.testing.assert_close(found[1][name], found[0][name], **EXACT)
    assert_same(gradients(pair.fast), fused(pair.slow, gradients(pair.slow)))
    assert_same(pair.fast.state_dict(), fused(pair.slow, {}))


def test_what_is_off_is_not_run() -> None:
    mask = torch.zeros(6, 5, dtype=torch.bool)
    mask[:, 1] = True
    mixture = Mixture({"cell": torch.ones(6, 5).double()}, active={"cell": mask})
    for net in make_pair():
        net(images(3, 3, 8, 8), mixture)
        counters = [
            value
            for name, value in net.named_buffers()
            if name.endswith("num_batches_tracked") and ("edges" in name or "leaving" in name)
        ]
        assert counters
        assert not any(counter.any() for counter in counters)


def test_one_seed_gives_one_network() -> None:
    nets, after = [], []
    for kind in (Supernet, EdgewiseSupernet):
        torch.manual_seed(0)
        nets.append(kind(channels=4, cells=2, auxiliary_skip=True))
        after.append(torch.rand(()))
    assert torch.equal(*after)
    wanted = fuse_state_dict(nets[1].state_dict())
    assert set(nets[0].state_dict()) == set(wanted)
    assert all(torch.equal(value, wanted[name]) for name, value in nets[0].state_dict().items())


def cross_entropy(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(net(batch[0]), batch[1])


@pytest.mark.parametrize(
    ("gradient", "options"),
    [(first_order, {}), (unrolled, {"hvp": "exact"}), (unrolled, {"hvp": "finite_difference"})],
    ids=["first order", "exact", "finite difference"],
)
@pytest.mark.parametrize("recomputes", [False, True], ids=["kept", "recomputed"])
def test_gradients_of_the_alphas(gradient: Any, options: dict[str, Any], recomputes: bool) -> None:
    pair = make_pair()
    if recomputes:
        pair.fast.recompute_cells()
    batches = [(images(4, 3, 8, 9, seed=s), labels(4, s)) for s in (1, 2)]
    found = []
    for net in pair:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        sgd = torch.optim.SGD(net.weight_parameters(), lr=0.05, momentum=0.9)
        found.append(gradient(net, cross_entropy, *batches, sgd, **options)["cell"])
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    limits = {"rtol": 1e-6, "atol": 1e-9} if options.get("hvp") == "finite_difference" else EXACT
    torch.testing.assert_close(found[1], found[0], **limits)
    assert found[0].any()


def test_recomputed_cells_are_bit_for_bit_those_that_are_kept() -> None:
    found = []
    for recomputes in (False, True):
        net = make_pair().fast
        net.skip_dropout = 0.3
        if recomputes:
            net.recompute_cells()
        torch.manual_seed(7)
        logits = backward(net, images(3, 3, 8, 8))
        found.append({"logits": logits} | gradients(net) | dict(net.named_buffers()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_dropout_is_that_of_the_edge_wise_network() -> None:
    pair = make_pair(operations=("skip_connect", "nor_conv_1x1"), auxiliary_skip=True)
    found = []
    for net in pair:
        net.skip_dropout = 0.5
        torch.manual_seed(3)
        found.append(net(images(3, 3, 8, 8)))
    torch.testing.assert_close(found[1], found[0], **EXACT)
    pair.fast.skip_dropout = 0.0
    assert not torch.allclose(pair.fast(images(3, 3, 8, 8)), found[1])


def test_mixed_precision_is_near_the_exact_result() -> None:
    net = make_pair().fast.float()
    x = images(8, 3, 8, 8).float()
    exact = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(x)
        F.cross_entropy(rounded, labels(8)).backward()
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.1 * exact.norm()
    assert all(bool(torch.isfinite(g).all()) for g in gradients(net).values())


def test_compilation_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compile"):
        make_pair().fast.compile_regions()


SAMPLES = 7  # four on one rank, three on the other


def step(net: nn.Module, share: slice) -> dict[str, dict[str, Tensor]]:
    """Gradients of the share's part of the whole loss, and statistics."""
    x, wanted = images(SAMPLES, 3, 9, 8)[share], labels(SAMPLES)[share]
    (F.cross_entropy(net(x), wanted, reduction="sum") / SAMPLES).backward()
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    return {"gradients": gradients(net), "buffers": buffers}


def work() -> dict[str, dict[str, Tensor]]:
    net = convert_sync_batch_norm(make_pair().fast, dist.group.WORLD)
    return step(net, rank_slice(SAMPLES, dist.get_rank(), 2))


def test_two_ranks_do_what_one_does(tmp_path: Path) -> None:
    slow = make_pair().slow
    wanted = {name: fused(slow, values) for name, values in step(slow, slice(None)).items()}
    one, other = on_ranks(work, tmp_path)
    total = {name: one["gradients"][name] + other["gradients"][name] for name in one["gradients"]}
    assert_same(total, wanted["gradients"])
    for rank in (one, other):
        assert_same(rank["buffers"], wanted["buffers"])
