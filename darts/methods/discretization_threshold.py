"""Threshold: keep the most probable operations whose probability also reaches a threshold.

References:
    Chu et al., "Fair DARTS", arXiv:1911.12126: operations whose sigmoid exceeds a threshold, at
    most two per node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from darts.methods.discretization import DISCRETIZATIONS, Discretization
from darts.registry import number
from darts.spaces import AnyGenotype, SearchContext


@DISCRETIZATIONS.register
@dataclass
class Threshold(Discretization):
    """The genotype of the most probable operations without edges below a threshold.

    The two edges of each node are chosen first, as in the authors' code: no third edge replaces one
    that is dropped. If no edge of a cell would remain, the cell keeps the most probable one that
    reads an input of the cell.

    Attributes:
        threshold: Smallest probability of an operation that stays in the genotype. It suits
            ``relaxation=sigmoid``, where the operations of an edge do not compete.
    """

    drops_edges: ClassVar[bool] = True
    name: str = "threshold"
    threshold: float = number(0.85, low=0, high=1)

    def genotype(self, probabilities: Mapping[str, Tensor], context: SearchContext) -> AnyGenotype:
        genotype = super().genotype(probabilities, context)
        smaller = context.space.without_improbable_edges(
            genotype, probabilities, context.candidates, self.threshold
        )
        # A fitted latency model may predict that a network with fewer edges is slower.
        fits = context.limit is None or context.limit.allows(smaller)
        return smaller if fits else genotype
