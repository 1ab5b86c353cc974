"""Softmax over the operations of each edge.

References:
    DARTS, arXiv:1806.09055, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, masked_softmax


@RELAXATIONS.register
@dataclass
class Softmax(Relaxation):
    """Positive mixing weights that sum to one on each edge."""

    name: str = "softmax"

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return masked_softmax(alpha, mask)
