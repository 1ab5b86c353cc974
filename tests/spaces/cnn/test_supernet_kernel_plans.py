"""The fast supernet with every kernel plan, device and precision against the edge-wise one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import images, labels
from oracles.supernet_pairs import REPEATABLE, backward, check, make_pair, slow_except
from torch import Tensor

from darts.ops import dispatch
from darts.ops.dispatch import UNLIMITED, KernelPlan
from darts.spaces.cnn import PRIMITIVES

BYTES = {"one edge": 1, "some edges": 10_000, "all edges": UNLIMITED}
PLANS = {
    f"{name}{', fused' if fused else ''}": KernelPlan(max_bytes, fused)
    for (name, max_bytes), fused in itertools.product(BYTES.items(), (False, True))
}
DEVICE_PLANS = {name: plan for name, plan in vars(dispatch).items() if isinstance(plan, KernelPlan)}
EVERYDAY_PLANS = ("one edge", "some edges, fused", "all edges")


def relative_error(actual: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """Return the norm of the difference of all tensors divided by the norm of the exact ones."""
    a, b = (torch.cat([x.detach().double().flatten() for x in xs]) for xs in (actual, exact))
    return float((a - b).norm() / b.norm())


def use_plan(monkeypatch: pytest.MonkeyPatch, plan: KernelPlan) -> None:
    """Use one kernel plan on every device and in every precision."""
    for name in DEVICE_PLANS:
        monkeypatch.setattr(dispatch, name, plan)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("plan", slow_except(PLANS, EVERYDAY_PLANS))
def test_every_plan_is_exact_in_double_precision(
    plan: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_plan(monkeypatch, PLANS[plan])
    pair = make_pair(device=device, cells=3, operations=REPEATABLE)
    check(pair, images(4, 3, 9, 8).to(device))


def float32_errors(x: Tensor, **options: Any) -> dict[str, list[float]]:
    """Return relative float32 errors of logits and alpha gradients: edge-wise, then fast."""
    exact, single = make_pair(**options).slow, make_pair(dtype=torch.float32, **options)
    expected = [backward(exact, x)], [alpha.grad for alpha in exact.alphas.values()]
    errors: dict[str, list[float]] = {"logits": [], "alphas": []}
    for net in single:
        errors["logits"].append(relative_error([backward(net, x.float())], expected[0]))
        gradients = [alpha.grad for alpha in net.alphas.values()]
        errors["alphas"].append(relative_error(gradients, expected[1]))
    return errors


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
    errors = float32_errors(x, channels=16, cells=3, nodes=3, operations=operations)
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
