"""Both supernets: options, kernel plans, and the conversion of their state dicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images, labels
from oracles.supernet_pairs import REPEATABLE, backward, check, make_pair
from slow_cases import slow_except
from torch import Tensor, nn

from darts.ops import dispatch
from darts.ops.dispatch import UNLIMITED, KernelPlan
from darts.spaces.cnn import (
    PRIMITIVES,
    EdgewiseSupernet,
    Supernet,
    fuse_state_dict,
    unfuse_state_dict,
)
from darts.spaces.mixture import Mixture


def test_auxiliary_skip_adds_the_state() -> None:
    """With auxiliary skips alone, a node is a weighted sum of states."""
    net = EdgewiseSupernet(channels=2, cells=1, nodes=2, classes=3, auxiliary_skip=True).double()
    net.eval()
    cell: Any = net.cells[0]  # a reduction cell, since cells // 3 == 0
    weights = torch.zeros(5, 9, dtype=torch.float64)
    weights[4, 8] = 0.25  # the edge from node 2 to node 3, of stride 1
    weights[0, 8] = 1.0  # from the first input to node 2
    seen = cell(*[images(2, 6, 8, 8)] * 2, Mixture({"reduce": weights}).of_cell("reduce", 0))
    node2, node3 = seen.chunk(2, dim=1)
    assert node2.any()
    torch.testing.assert_close(node3, 0.25 * node2, **EXACT)


@pytest.mark.parametrize("kind", [EdgewiseSupernet, Supernet])
def test_partial_channels_bypass_and_shuffle(kind: Any) -> None:
    net = kind(channels=8, cells=1, nodes=2, classes=3, partial=4).double().eval()
    cell: Any = net.cells[0]  # a reduction cell of 16 channels, whose bypassing channels are pooled
    nothing = Mixture({g: torch.zeros(s, dtype=torch.float64) for g, s in net.shapes.items()})
    x = images(2, 24, 8, 8)
    node = cell(x, x, nothing.of_cell("reduce", 0))[:, :16]
    states = [pre(x) for pre in (cell.preprocess0, cell.preprocess1)]
    bypassing = sum(F.max_pool2d(state[:, state.shape[1] // 4 :], 2) for state in states)
    share = node.shape[1] // 4
    expected = torch.cat([torch.zeros_like(node[:, :share]), bypassing], dim=1)
    for position in range(4 * share):  # shuffled channels
        source = (position % 4) * share + position // 4
        torch.testing.assert_close(node[:, position], expected[:, source], **EXACT)


def test_skip_dropout_zeroes_its_share_in_training_only() -> None:
    shares = []
    for net in make_pair(cells=3, nodes=1):
        skip = torch.zeros(2, 8, dtype=torch.float64)
        skip[0, PRIMITIVES.index("skip_connect")] = 1
        cell: Any = net.cells[0]
        x = images(64, 9, 8, 8)
        whole = cell(x, x, Mixture({"normal": skip}).of_cell("normal", 0))
        torch.manual_seed(0)
        dropped = cell(x, x, Mixture({"normal": skip}).of_cell("normal", 0), 0.3)
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], whole[kept] / 0.7, rtol=1e-6, atol=1e-9)
        # The fast cell returns rectified values, which are 0 in half of the places.
        shares.append(1 - float(kept[whole != 0].double().mean()))
        cell.eval()
        again = [cell(x, x, Mixture({"normal": skip}).of_cell("normal", 0), p) for p in (0.0, 0.3)]
        assert torch.equal(*again)
        reducing: Any = net.cells[1]
        inputs = (images(2, 9, 8, 8), images(2, 3, 8, 8))
        mixture = Mixture({"reduce": skip}).of_cell("reduce", 0)
        again = [reducing(*inputs, mixture, dropout) for dropout in (0.0, 0.3)]
        assert torch.equal(*again)  # a skip connection that halves the image keeps all elements
    assert shares == pytest.approx([0.3, 0.3], abs=0.02)


def train(net: nn.Module) -> None:
    """Take two steps, so that all statistics and weights differ."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for seed in (1, 2):
        optimizer.zero_grad()
        x = images(3, 3, 9, 8, seed=seed)
        F.cross_entropy(net(x), labels(3, seed)).backward()
        optimizer.step()


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, value in actual.items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    "options",
    [
        {"cells": 2, "nodes": 3},  # reduction cells only
        {"cells": 1, "nodes": 1},
        {"operations": REPEATABLE, "channels": 5},
        {"operations": ("skip_connect", "none")},  # weights in reduction cells only
        {"operations": ("none",)},
        pytest.param({"stem": "imagenet", "cells": 8}, marks=pytest.mark.slow),
    ],
)
def test_fuse_and_unfuse_are_inverse(options: dict[str, Any]) -> None:
    slow, fast = make_pair(**options)
    train(slow)
    train(fast)
    state = slow.state_dict()
    assert_equal(unfuse_state_dict(fuse_state_dict(state)), state)
    state = fast.state_dict()
    assert_equal(fuse_state_dict(unfuse_state_dict(state)), state)


@pytest.mark.parametrize("way", ["fuse", "unfuse"])
def test_conversion_copies_tensors(way: str) -> None:
    slow, fast = make_pair()
    source = (slow if way == "fuse" else fast).state_dict()
    kept = {name: value.clone() for name, value in source.items()}
    for value in (fuse_state_dict if way == "fuse" else unfuse_state_dict)(source).values():
        value.add_(1)
    assert_equal(dict(source), kept)


def test_state_dicts_of_the_wrong_supernet_are_rejected() -> None:
    slow, fast = make_pair()
    with pytest.raises(ValueError, match=r"^this is not the state dict of an EdgewiseSupernet$"):
        fuse_state_dict(fast.state_dict())
    with pytest.raises(ValueError, match=r"^this is not the state dict of a Supernet$"):
        unfuse_state_dict(slow.state_dict())


BYTES = {"one edge": 1, "some edges": 10_000, "all edges": UNLIMITED}
PLANS = {
    f"{name}{', fused' if fused else ''}": KernelPlan(max_bytes, fused)
    for (name, max_bytes), fused in itertools.product(BYTES.items(), (False, True))
}
DEVICE_PLANS = {name: plan for name, plan in vars(dispatch).items() if isinstance(plan, KernelPlan)}
EVERYDAY_PLANS = ("one edge", "some edges, fused", "all edges")


def relative_error(actual: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    a, b = (torch.cat([x.detach().double().flatten() for x in xs]) for xs in (actual, exact))
    return float((a - b).norm() / b.norm())


def use_plan(monkeypatch: pytest.MonkeyPatch, plan: KernelPlan) -> None:
    """Use one kernel plan on every device and in every precision."""
    for name in DEVICE_PLANS:
        monkeypatch.setattr(dispatch, name, plan)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("plan", slow_except(PLANS, EVERYDAY_PLANS))
def test_every_plan_is_exact(plan: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_plan(monkeypatch, PLANS[plan])
    pair = make_pair(device=device, cells=3, operations=REPEATABLE)
    check(pair, images(4, 3, 9, 8).to(device))


FEW = ("none", "sep_conv_5x5", "dil_conv_3x3")


@pytest.mark.parametrize(
    ("operations", "plan"),
    [
        pytest.param(PRIMITIVES, DEVICE_PLANS["CPU"], id="CPU"),
        pytest.param(FEW, PLANS["some edges, fused"], id="few, some edges, fused"),
        *(
            pytest.param(PRIMITIVES, PLANS[name], id=name, marks=pytest.mark.slow)
            for name in ("some edges, fused", "all edges")
        ),
    ],
)
def test_float32_errors_are_as_small_as_those_of_the_edgewise_supernet(
    operations: tuple[str, ...], plan: KernelPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_plan(monkeypatch, plan)
    x = images(6, 3, 10, 9)
    options: Any = {"channels": 16, "cells": 3, "nodes": 3, "operations": operations}
    exact, single = make_pair(**options).slow, make_pair(dtype=torch.float32, **options)
    expected = [backward(exact, x)], [alpha.grad for alpha in exact.alphas.values()]
    errors: dict[str, list[float]] = {"logits": [], "alphas": []}
    for net in single:
        errors["logits"].append(relative_error([backward(net, x.float())], expected[0]))
        gradients = [alpha.grad for alpha in net.alphas.values()]
        errors["alphas"].append(relative_error(gradients, expected[1]))
    for name, (slow, fast) in errors.items():
        assert 0 < fast < 3 * slow + 1e-6, (name, slow, fast)


@pytest.mark.parametrize("plan", slow_except(PLANS, EVERYDAY_PLANS))
def test_every_plan_in_bfloat16(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_plan(monkeypatch, PLANS[plan])
    options: dict[str, Any] = {"cells": 3, "channels": 4, "operations": REPEATABLE[3:]}
    pair = make_pair(dtype=torch.float32, **options)
    x = images(8, 3, 8, 9)
    exact = backward(make_pair(**options).slow, x)
    errors = []
    for net in pair:
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.float())
            loss = F.cross_entropy(logits.float(), labels(len(x)))
        loss.backward()
        errors.append(relative_error([logits], [exact]))
        assert logits.dtype == torch.bfloat16
        for parameter in net.parameters():
            assert parameter.grad.dtype == torch.float32
            assert parameter.grad.isfinite().all()
    slow, fast = errors
    assert 0 < fast < 2 * slow + 0.01, errors
