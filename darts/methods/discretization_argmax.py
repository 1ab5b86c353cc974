"""Argmax: keep the most probable operations, with an optional limit on skip connections.

References:
    DARTS, arXiv:1806.09055, section 2.4; the limit: Chen et al., "Progressive DARTS",
    arXiv:1904.12760, section 3.3.2; pairs: the later code of GDAS, arXiv:1910.04465; all edges: the
    code of SNAS, arXiv:1812.09926.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.methods.discretization import DISCRETIZATIONS, Discretization
from darts.registry import choice, number
from darts.spaces import AnyGenotype, SearchContext


@DISCRETIZATIONS.register
@dataclass
class Argmax(Discretization):
    """The genotype of the most probable operations, with an optional limit on skip connections.

    Attributes:
        skip_limit: Maximum number of skip connections in the first group that has them as
            candidates, for example the normal cell. While there are more, the least probable one is
            removed and the genotype is derived again. Hard limits of costs take precedence: a
            removed one comes back if no other genotype is within them. None: no limit.
        edges: "two": the edges that the space keeps; in ``cnn``, the two strongest into each node.
            "pairs": the two strongest operations into each node, which may be on one edge. "all":
            all edges; those whose strongest operation is ``none`` do not exist.

    Raises:
        ValueError: A limit together with another rule than "two".
    """

    name: str = "argmax"
    skip_limit: int | None = number(None, low=0)
    edges: str = choice("two", "two", "pairs", "all")

    def __post_init__(self) -> None:
        if self.skip_limit is not None and self.edges != "two":
            raise ValueError(
                f"discretize.skip_limit={self.skip_limit} needs discretize.edges=two, not "
                f"{self.edges}"
            )

    @property
    def edge_rule(self) -> str:
        return self.edges

    def genotype(self, probabilities: Mapping[str, Tensor], context: SearchContext) -> AnyGenotype:
        if self.edges != "two":
            return context.space.derive_by(self.edges, probabilities, context.candidates)
        genotype = super().genotype(probabilities, context)
        if self.skip_limit is None:
            return genotype
        skip = context.space.skip_operation
        is_skip = {
            group: torch.tensor([[name == skip for name in row] for row in names])
            for group, names in context.candidates.items()
        }
        limited = next((group for group, skips in is_skip.items() if bool(skips.any())), None)
        if limited is None:
            return genotype
        remaining = {group: p.detach().cpu().clone() for group, p in probabilities.items()}
        while True:
            used = context.derived_mask(remaining)[limited].cpu()
            used &= is_skip[limited]
            if int(used.sum()) <= self.skip_limit:
                return genotype
            used &= remaining[limited] > 0
            if not bool(used.any()):
                return genotype  # the remaining skips are the only candidates of their edges
            strength = remaining[limited].masked_fill(~used, float("inf"))
            remaining[limited].view(-1)[strength.argmin()] = 0.0
            genotype = super().genotype(remaining, context)
