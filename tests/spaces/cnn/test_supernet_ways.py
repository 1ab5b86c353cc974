"""Every way the supernet can be computed gives one result: choices, devices and precisions."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from both_supernets import (
    DEVICES,
    REPEATABLE,
    assert_same,
    fused,
    gradients,
    images,
    labels,
    make_pair,
    relative_error,
)
from torch import Tensor, nn

from darts.ops import dispatch
from darts.ops.dispatch import ALL, Choice
from darts.spaces.cnn import PRIMITIVES

BYTES = (1, 10_000, ALL)  # one edge at once, some, all
ROWS = [Choice(*row) for row in itertools.product(BYTES, (False, True))]
OWN = {name: row for name, row in vars(dispatch).items() if isinstance(row, Choice)}


def name_of(row: Any) -> str | None:
    if not isinstance(row, Choice):
        return None
    edges = BYTES.index(row.bytes_at_once) if row.bytes_at_once in BYTES else row.bytes_at_once
    return f"{edges} at once{' composed' * row.composed}"


def take(monkeypatch: pytest.MonkeyPatch, row: Choice) -> None:
    """Let this row be taken on every device and in every precision."""
    for name in OWN:
        monkeypatch.setattr(dispatch, name, row)


def step(net: nn.Module, x: Tensor) -> Tensor:
    net.zero_grad()
    logits = net(x)
    F.cross_entropy(logits.float(), labels(len(x)).to(x.device)).backward()
    return logits.detach()


def results(net: nn.Module, x: Tensor) -> dict[str, dict[str, Tensor]]:
    """In training, and in evaluation by the statistics that training left."""
    found = {}
    for training in (True, False):
        logits = step(net.train(training), x)
        found[f"gradients {training}"] = gradients(net)
        found[f"logits {training}"] = {"logits": logits}
    found["state"] = net.state_dict()
    return found


@cache
def edge_by_edge(
    device: str, size: tuple[int, int], options: tuple[tuple[str, Any], ...]
) -> dict[str, dict[str, Tensor]]:
    slow = make_pair(device=device, **dict(options)).slow
    found = results(slow, images(4, 3, *size).to(device))
    return {
        name: values if name.startswith("logits") else fused(slow, values)
        for name, values in found.items()
    }


def check(device: str, size: tuple[int, int], **options: Any) -> None:
    wanted = edge_by_edge(device, size, tuple(options.items()))
    found = results(make_pair(device=device, **options).fast, images(4, 3, *size).to(device))
    for name, values in found.items():
        assert_same(values, wanted[name])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_every_way_in_double_precision(
    row: Choice, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, row)
    check(device, (9, 8), cells=3, operations=REPEATABLE)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", OWN.values(), ids=OWN)
def test_the_ways_of_each_device_with_the_larger_stem(
    row: Choice, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, row)
    check(device, (17, 12), stem="imagenet", channels=4)


def errors(x: Tensor, **options: Any) -> dict[str, list[float]]:
    """Of logits and gradients of the alphas in single precision: edge-wise and fast."""
    exact, single = make_pair(**options).slow, make_pair(dtype=torch.float32, **options)
    wanted = [step(exact, x)], [alpha.grad for alpha in exact.alphas.values()]
    found: dict[str, list[float]] = {"logits": [], "alphas": []}
    for net in single:
        found["logits"].append(relative_error([step(net, x.float())], wanted[0]))
        got = [alpha.grad for alpha in net.alphas.values()]
        found["alphas"].append(relative_error(got, wanted[1]))
    return found


@pytest.mark.parametrize("row", [OWN["CPU"], OWN["GPU"], Choice(10_000, True)], ids=name_of)
@pytest.mark.parametrize("operations", [PRIMITIVES, ("none", "sep_conv_5x5", "dil_conv_3x3")])
def test_single_precision_is_as_exact_as_edge_by_edge(
    operations: tuple[str, ...], row: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, row)
    x = images(6, 3, 10, 9)
    found = errors(x, channels=16, cells=3, nodes=3, operations=operations)
    for name, (slow, fast) in found.items():
        assert 0 < fast < 3 * slow + 1e-6, (name, slow, fast)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
@pytest.mark.parametrize("operations", [PRIMITIVES, REPEATABLE[3:]], ids=len)
def test_ways_that_bfloat16_may_take(
    operations: tuple[str, ...], row: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, row)
    in_bfloat16(operations)


@pytest.mark.parametrize("operations", [(n,) for n in REPEATABLE if n != "none"], ids="".join)
def test_bfloat16_operation_by_operation(operations: tuple[str, ...]) -> None:
    in_bfloat16(operations)


def in_bfloat16(operations: tuple[str, ...]) -> None:
    """The fast network is about as far from the exact logits as the other, and can be trained."""
    options: dict[str, Any] = {"cells": 3, "channels": 4, "operations": operations}
    pair = make_pair(dtype=torch.float32, **options)
    x = images(8, 3, 8, 9)
    wanted = step(make_pair(**options).slow, x)
    found = []
    for net in pair:
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.float())
            loss = F.cross_entropy(logits.float(), labels(len(x)))
        loss.backward()
        found.append(relative_error([logits], [wanted]))
        assert logits.dtype == torch.bfloat16
        for parameter in net.parameters():
            assert parameter.grad is not None
            assert parameter.grad.dtype == torch.float32
            assert parameter.grad.isfinite().all()
    slow, fast = found
    assert 0 < fast < 2 * slow + 0.01, found
