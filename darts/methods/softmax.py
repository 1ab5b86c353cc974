"""Softmax over the operations of each edge.

References:
    DARTS, arXiv:1806.09055, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, kept_softmax


@RELAXATIONS.register
@dataclass
class Softmax(Relaxation):
    """Mixing weights that are positive and sum to one on each edge."""

    name: str = "softmax"

    def probabilities(self, alpha: Tensor, kept: Tensor | None) -> Tensor:
        return kept_softmax(alpha, kept)
