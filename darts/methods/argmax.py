"""The strongest operations, as the space defines them, with a limit to skip connections.

References:
    DARTS, arXiv:1806.09055, section 2.4; the limit: Chen et al., "Progressive DARTS",
    arXiv:1904.12760, section 3.3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darts.methods.discretization import DISCRETISERS, Discretization
from darts.registry import number
from darts.spaces.context import SearchContext


@DISCRETISERS.register
@dataclass
class Argmax(Discretization):
    """Read the genotype out of the probabilities.

    Attributes:
        skip_limit: most skip connections in the first group that may have some (in the normal
            cell, of two kinds); of more, the least probable are taken out, one by one, and the
            genotype is read again. None: no limit.
    """

    name: str = "argmax"
    skip_limit: int | None = number(None, low=0)

    def genotype(self, probabilities: Mapping[str, Tensor], context: SearchContext) -> Any:
        genotype = super().genotype(probabilities, context)
        if self.skip_limit is None:
            return genotype
        skipping = {
            group: torch.tensor([[name == context.space.skip for name in row] for row in names])
            for group, names in context.candidates.items()
        }
        cell = next((group for group, skips in skipping.items() if bool(skips.any())), None)
        if cell is None:
            return genotype
        skips = skipping[cell]
        left = {group: p.detach().cpu().clone() for group, p in probabilities.items()}
        while True:
            used = context.space.used(left, context.candidates)[cell].cpu() & skips
            if int(used.sum()) <= self.skip_limit:
                return genotype
            used &= left[cell] > 0
            if not bool(used.any()):
                return genotype  # edges with nothing but a skip to choose from
            strength = left[cell].masked_fill(~used, float("inf"))
            left[cell].view(-1)[strength.argmin()] = 0.0
            genotype = super().genotype(left, context)
