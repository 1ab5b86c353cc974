"""Architectures drawn uniformly, whatever the alphas: random search with shared weights.

References:
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, kept_softmax
from darts.spaces.context import SearchContext
from darts.spaces.mixture import Mixture


@RELAXATIONS.register
@dataclass
class Uniform(Relaxation):
    """In training the supernet is a random architecture of the space, another one at each step."""

    uses_alphas: ClassVar[bool] = False
    name: str = "uniform"

    def probabilities(self, alpha: Tensor, kept: Tensor | None) -> Tensor:
        return kept_softmax(torch.zeros_like(alpha), kept)

    def mixture(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Mixture:
        genotype = context.space.random(torch.default_generator)
        masks = context.space.mask(genotype, context.candidates)
        drawn = {}
        for group, alpha in alphas.items():
            if group in masks:
                mask = masks[group]
                if group in context.kept:
                    mask = _redrawn(mask, context.kept[group])
                mask = mask.to(alpha.device)
                drawn[group] = (mask.to(alpha.dtype), mask)
        return self._with_extras(drawn, alphas, context)


def _redrawn(mask: Tensor, kept: Tensor) -> Tensor:
    """On the same edges, an operation that is kept, at random, in the place of one that is not."""
    chances = torch.rand(kept.shape).masked_fill(~kept, -1.0)
    other = F.one_hot(chances.argmax(-1), kept.shape[1]).bool() & kept
    found = mask & kept
    return found | other & (mask.any(-1) & ~found.any(-1))[:, None]
