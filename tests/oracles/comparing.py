"""Batches of images, scores and comparisons, for tests of supernets against their oracles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from darts.methods.bilevel import first_order, unrolled
from darts.spaces.genotype import PRIMITIVES

EXACT = {"rtol": 1e-9, "atol": 1e-9}
HYPERGRADIENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
}
"""Functions for gradients of the alphas, with their options."""


def images(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def labels(number: int, seed: int = 2) -> Tensor:
    return torch.randint(4, (number,), generator=torch.Generator().manual_seed(seed))


def mixing(net: Any) -> dict[str, Tensor]:
    """Return random weights of the candidates of all edges."""
    return {g: images(*shape, seed=2).softmax(-1) for g, shape in net.shapes.items()}


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Return all gradients; zeros for parameters that do not affect the loss."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }


def derive_cell(table: list[list[float]], nodes: int) -> list[tuple[float, int, str]]:
    """Return probability, edge and operation of the two strongest edges into each node."""
    kept, first = [], 0
    for count in range(2, nodes + 2):
        best = []
        for edge in range(first, first + count):
            column = max(range(1, 8), key=lambda c: table[edge][c])
            best.append((table[edge][column], edge, PRIMITIVES[column]))
        kept += sorted(best, key=lambda entry: -entry[0])[:2]  # the earlier one of equal edges
        first += count
    return kept


def slow_path_score(
    net: nn.Module, weights: dict[str, Tensor], calibration: Any, scored: Any
) -> tuple[float, float]:
    """Return accuracy and loss of an edge-wise supernet with running statistics of the path."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a cumulative mean
    with torch.no_grad():
        net.train()
        for samples, _ in calibration:
            net(samples, weights)
        net.eval()
        pairs = [(net(samples, weights), targets) for samples, targets in scored]
    logits, targets = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    accuracy = (logits.argmax(1) == targets).float().mean()
    return float(accuracy), float(nn.functional.cross_entropy(logits, targets))


def assert_same(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], **limits: float
) -> None:
    """Check each actual tensor against the expected one of the same name."""
    assert actual
    wanted = {name: expected[name] for name in actual}
    torch.testing.assert_close(dict(actual), wanted, **(limits or EXACT))
