"""Uniformly sampled architectures, independent of the alphas: random search with shared weights.

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

from darts.methods.relaxation import RELAXATIONS, Relaxation, WeightsAndMask, masked_softmax
from darts.ops.transfer import to_device
from darts.spaces import Mixture, SearchContext


@RELAXATIONS.register
@dataclass
class Uniform(Relaxation):
    """One random architecture of the space in each training step."""

    uses_alphas: ClassVar[bool] = False
    name: str = "uniform"

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return masked_softmax(torch.zeros_like(alpha), mask)

    def mixture(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Mixture:
        genotype = context.space.random(torch.default_generator)
        masks = context.space.mask(genotype, context.candidates)
        weights: dict[str, WeightsAndMask] = {}
        for group, alpha in alphas.items():
            if group in masks:
                mask = masks[group]
                if group in context.masks:
                    mask = _replace_dropped(mask, context.masks[group])
                weights[group] = (to_device(mask.to(alpha.dtype), alpha.device), mask)
        return self._mixture(weights, alphas, context)


def _replace_dropped(mask: Tensor, candidates: Tensor) -> Tensor:
    """Replace each operation that is no longer a candidate by a random candidate of its edge."""
    scores = torch.rand(candidates.shape).masked_fill(~candidates, -1.0)
    replacement = F.one_hot(scores.argmax(-1), candidates.shape[1]).bool() & candidates
    valid = mask & candidates
    return valid | replacement & (mask.any(-1) & ~valid.any(-1))[:, None]
