"""Mixing weights drawn from a Dirichlet distribution.

References:
    Chen et al., "DrNAS: Dirichlet Neural Architecture Search", arXiv:2006.10355, section 2.2. The
    pathwise gradient is PyTorch's (Jankowiak and Obermeyer, arXiv:1806.01851).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet as Distribution

from darts.methods.relaxation import RELAXATIONS, Relaxation
from darts.spaces.context import SearchContext


def concentration(alpha: Tensor) -> Tensor:
    """Parameters of the Dirichlet distribution, ``elu(alpha) + 1``, which are positive."""
    # Below the smallest float, alpha = -100 would give 0, which is no concentration.
    return (F.elu(alpha) + 1).clamp_min(torch.finfo(alpha.dtype).tiny)


@RELAXATIONS.register
@dataclass
class Dirichlet(Relaxation):
    """One draw an edge in training; the mean of the distribution otherwise."""

    name: str = "dirichlet"

    def probabilities(self, alpha: Tensor, kept: Tensor | None) -> Tensor:
        return _share(concentration(alpha), kept)

    def draw(
        self, alpha: Tensor, kept: Tensor | None, context: SearchContext
    ) -> tuple[Tensor, Any]:
        # Some components of a draw, divided by their sum, are Dirichlet with their parameters.
        return _share(Distribution(concentration(alpha)).rsample(), kept), None


def _share(parts: Tensor, kept: Tensor | None) -> Tensor:
    parts = parts if kept is None else parts * kept
    total = parts.sum(-1, keepdim=True)
    return parts / total.where(total > 0, torch.ones_like(total))  # an edge may keep nothing
