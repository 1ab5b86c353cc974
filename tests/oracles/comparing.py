"""Batches of images and comparisons, for tests of supernets against their oracles."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def images(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def labels(number: int, seed: int = 2) -> Tensor:
    return torch.randint(4, (number,), generator=torch.Generator().manual_seed(seed))


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Return all gradients; zeros for parameters that do not affect the loss."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }


def assert_same(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], **limits: float
) -> None:
    """Check each actual tensor against the expected one of the same name."""
    assert actual
    wanted = {name: expected[name] for name in actual}
    torch.testing.assert_close(dict(actual), wanted, **(limits or EXACT))
