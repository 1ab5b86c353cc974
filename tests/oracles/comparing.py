"""Batches of images and comparisons, for tests of supernets against their oracles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from darts.methods.bilevel import first_order, unrolled

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


def hypergradients(
    method: str, net: Any, loss_of: Callable[..., Tensor], batch: Callable[[int], Any]
) -> dict[str, Tensor]:
    """Return the gradients of the alphas after two steps of the weights, with seeded draws."""
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.05, momentum=0.9, weight_decay=3e-3)
    for seed in (11, 12):
        net.zero_grad()
        torch.manual_seed(seed)
        loss_of(net, batch(seed)).backward()
        optimizer.step()
    compute, options = HYPERGRADIENTS[method]
    torch.manual_seed(7)
    return compute(net, loss_of, batch(1), batch(2), optimizer, **options)


def assert_same(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], **limits: float
) -> None:
    """Check each actual tensor against the expected one of the same name."""
    assert actual
    wanted = {name: expected[name] for name in actual}
    torch.testing.assert_close(dict(actual), wanted, **(limits or EXACT))
