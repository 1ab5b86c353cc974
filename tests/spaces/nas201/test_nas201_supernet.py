"""The fast supernet of NAS-Bench-201 against the edge-wise one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nas201_supernets import backward, check, fused, make_pair
from oracles.comparing import EXACT, assert_same, gradients, images, labels
from oracles.nas201_supernet import EdgewiseSupernet, fuse_state_dict
from torch import Tensor

from darts.methods.bilevel import first_order, unrolled
from darts.spaces.mixture import Mixture
from darts.spaces.nas201 import PRIMITIVES, Supernet

OPERATIONS = [*((name,) for name in PRIMITIVES), ("nor_conv_3x3", "none", "skip_connect")]


@pytest.mark.parametrize("operations", [*OPERATIONS, PRIMITIVES], ids="+".join)
def test_operations_at_odd_sizes(operations: tuple[str, ...]) -> None:
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
def test_both_supernets_agree_for_all_options(options: dict[str, Any]) -> None:
    check(make_pair(**options), images(3, options.get("in_channels", 3), 8, 9))


def masks(kind: str, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    chosen = torch.randint(columns, (6, 2), generator=generator)
    mask = F.one_hot(chosen[:, 0], columns).bool()
    if kind == "two per edge":
        mask |= F.one_hot(chosen[:, 1], columns).bool()
    elif kind == "convolutions of the outer edges":
        mask = torch.zeros(6, columns, dtype=torch.bool)
        mask[[0, 3], 3] = True  # the first and the last of the edges that leave node 0
    elif kind == "nothing":
        mask = torch.zeros(6, columns, dtype=torch.bool)
    return mask


@pytest.mark.parametrize("slices", [(), (3,)], ids=["shared", "one per cell"])
@pytest.mark.parametrize(
    "kind", ["one per edge", "two per edge", "convolutions of the outer edges", "nothing"]
)
def test_both_supernets_agree_on_active_operations(kind: str, slices: tuple[int, ...]) -> None:
    pair = make_pair(partial=2, auxiliary_skip=True)
    actual = []
    for net in pair:
        table = images(*slices, 6, 6, seed=5).requires_grad_()
        bypass = images(6, seed=6).requires_grad_()
        mixture = Mixture({"cell": table}, bypass={"cell": bypass}, active={"cell": masks(kind, 6)})
        logits = backward(net, images(3, 3, 8, 9), mixture)
        actual.append({"logits": logits, "bypass": bypass.grad, "table": table.grad})
        off = ~masks(kind, 6).expand_as(table)
        assert table.grad is None or not table.grad[off].any()
    for name in ("logits", "bypass", "table"):
        torch.testing.assert_close(actual[1][name], actual[0][name], **EXACT)
    assert_same(gradients(pair.fast), fused(pair.slow, gradients(pair.slow)))
    assert_same(pair.fast.state_dict(), fused(pair.slow, {}))


def test_equal_seeds_give_equal_networks() -> None:
    nets, after = [], []
    for kind in (Supernet, EdgewiseSupernet):
        torch.manual_seed(0)
        nets.append(kind(channels=4, cells=2, auxiliary_skip=True))
        after.append(torch.rand(()))
    assert torch.equal(*after)
    expected = fuse_state_dict(nets[1].state_dict())
    assert set(nets[0].state_dict()) == set(expected)
    assert all(torch.equal(value, expected[name]) for name, value in nets[0].state_dict().items())


def cross_entropy(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(net(batch[0]), batch[1])


@pytest.mark.parametrize(
    ("gradient", "options"),
    [(first_order, {}), (unrolled, {"hvp": "exact"}), (unrolled, {"hvp": "finite_difference"})],
    ids=["first order", "exact", "finite difference"],
)
@pytest.mark.parametrize("recomputes", [False, True], ids=["stored", "recomputed"])
def test_gradients_of_the_alphas(gradient: Any, options: dict[str, Any], recomputes: bool) -> None:
    pair = make_pair()
    if recomputes:
        pair.fast.recompute_cells()
    batches = [(images(4, 3, 8, 9, seed=s), labels(4, s)) for s in (1, 2)]
    actual = []
    for net in pair:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        sgd = torch.optim.SGD(net.weight_parameters(), lr=0.05, momentum=0.9)
        actual.append(gradient(net, cross_entropy, *batches, sgd, **options)["cell"])
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    limits = {"rtol": 1e-6, "atol": 1e-9} if options.get("hvp") == "finite_difference" else EXACT
    torch.testing.assert_close(actual[1], actual[0], **limits)
    assert actual[0].any()


def test_skip_dropout_matches_the_edgewise_supernet() -> None:
    pair = make_pair(operations=("skip_connect", "nor_conv_1x1"), auxiliary_skip=True)
    actual = []
    for net in pair:
        net.skip_dropout = 0.5
        torch.manual_seed(3)
        actual.append(net(images(3, 3, 8, 8)))
    torch.testing.assert_close(actual[1], actual[0], **EXACT)
    pair.fast.skip_dropout = 0.0
    assert not torch.allclose(pair.fast(images(3, 3, 8, 8)), actual[1])
