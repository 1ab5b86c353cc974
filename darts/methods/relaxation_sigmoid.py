"""A sigmoid per operation, so that the operations of an edge do not compete.

References:
    Chu et al., "Fair DARTS", arXiv:1911.12126, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation


@RELAXATIONS.register
@dataclass
class Sigmoid(Relaxation):
    """Independent mixing weights between 0 and 1."""

    name: str = "sigmoid"

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        weights = alpha.sigmoid()
        return weights if mask is None else weights * mask
