"""Mixing weights without random draws.

References:
    DARTS, arXiv:1806.09055, equation 2: the softmax.
    Chu et al., "Fair DARTS", arXiv:1911.12126, section 3.2: the sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, masked_softmax


@RELAXATIONS.register
@dataclass
class Softmax(Relaxation):
    """Positive mixing weights that sum to one on each edge."""

    captures: ClassVar[bool] = True
    name: str = "softmax"

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return masked_softmax(alpha, mask)


@RELAXATIONS.register
@dataclass
class Sigmoid(Relaxation):
    """Mixing weights between 0 and 1. The operations of an edge do not compete."""

    captures: ClassVar[bool] = True
    name: str = "sigmoid"

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        weights = alpha.sigmoid()
        return weights if mask is None else weights * mask
