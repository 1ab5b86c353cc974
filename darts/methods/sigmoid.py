"""A sigmoid for each operation, so that those of an edge do not compete.

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
    """Mixing weights between 0 and 1, each on its own."""

    name: str = "sigmoid"

    def probabilities(self, alpha: Tensor, kept: Tensor | None) -> Tensor:
        weights = alpha.sigmoid()
        return weights if kept is None else weights * kept
