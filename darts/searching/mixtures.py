"""Forward passes of a supernet with given mixing weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from darts.spaces import Mixture


def masked(weights: Tensor, mask: Tensor) -> Tensor:
    """Return mixing weights multiplied by a mask; an auxiliary skip column stays as it is.

    Args:
        weights: ``(edges, operations)``, or with one more column for the auxiliary skip connection.
        mask: ``(edges, operations)`` bool.
    """
    candidates = mask.shape[1]
    kept = weights[:, :candidates] * mask.to(weights.device)
    return torch.cat([kept, weights[:, candidates:]], dim=1)


def run_mixture(net: nn.Module, mixture: Mixture, samples: Any, /, **options: Any) -> Any:
    """Return the outputs of a supernet for given mixing weights."""
    return net(samples, mixture, **options)
