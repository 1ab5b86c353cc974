"""The virtual step and its derivative, compared with steps of PyTorch's optimizer."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.methods.bilevel.unrolled import sgd_step

NAMES = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
COMBINATIONS: list[dict[str, Any]] = [
    dict(zip(NAMES, values, strict=True))
    for values in product((0.0, 0.9), (0.0, 0.3), (0.0, 1e-2), (False, True), (False, True))
    if not values[3] or (values[0] and not values[1])  # PyTorch rejects the others
]


def draw(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 2, 3, 3), (4,), (2, 5)]
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_virtual_step_matches_sgd_at_first_and_later_steps(options: dict[str, Any]) -> None:
    """The last weight gets its first gradient, and so its momentum buffer, at the third step."""
    weights = [nn.Parameter(tensor) for tensor in draw(0)]
    optimizer = torch.optim.SGD(weights, lr=0.05, **options)
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.05 / (step + 1)  # like a schedule
        gradients, changes = draw(step + 1), draw(step + 100)
        stepped, factors = sgd_step(optimizer, weights, gradients)
        changed = [g + c for g, c in zip(gradients, changes, strict=True)]
        elsewhere, _ = sgd_step(optimizer, weights, changed)
        used = range(3 if step > 1 else 2)
        for n in used:
            weights[n].grad = gradients[n].clone()
        optimizer.step()
        for n in used:
            torch.testing.assert_close(stepped[n], weights[n].detach(), rtol=1e-14, atol=1e-15)
            difference = -factors[n] * changes[n]
            torch.testing.assert_close(elsewhere[n] - stepped[n], difference, rtol=1e-9, atol=1e-12)
