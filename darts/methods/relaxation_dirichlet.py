"""Mixing weights sampled from a Dirichlet distribution.

References:
    Chen et al., "DrNAS: Dirichlet Neural Architecture Search", arXiv:2006.10355, section 2.2. The
    pathwise gradient is PyTorch's (Jankowiak and Obermeyer, arXiv:1806.01851).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet as DirichletDistribution

from darts.methods.relaxation import RELAXATIONS, Relaxation, WeightsAndMask, masked_softmax
from darts.registry import choice
from darts.spaces import SearchContext


def concentration(alpha: Tensor) -> Tensor:
    """Return the positive parameters ``elu(alpha) + 1`` of the Dirichlet distribution."""
    # The clamp excludes 0, which elu(alpha) + 1 reaches by rounding, for example at alpha = -100.
    return (F.elu(alpha) + 1).clamp_min(torch.finfo(alpha.dtype).tiny)


@RELAXATIONS.register
@dataclass
class Dirichlet(Relaxation):
    """One sample per edge in training, and the mean of the distribution in evaluation.

    Attributes:
        ranking: The probabilities that the genotype is derived from: the mean of the distribution,
            as in the paper, or the softmax of the alphas, as in the authors' code. Both agree on
            the best operation of an edge, but not always on the best edges of a node.
    """

    captures: ClassVar[bool] = True
    name: str = "dirichlet"
    ranking: str = choice("mean", "mean", "softmax")

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        if self.ranking == "softmax":
            return masked_softmax(alpha, mask)
        return _normalize(concentration(alpha), mask)

    def mean_weights(self, alpha: Tensor, mask: Tensor | None) -> WeightsAndMask:
        return _normalize(concentration(alpha), mask), None

    def sample_weights(
        self, alpha: Tensor, mask: Tensor | None, context: SearchContext
    ) -> WeightsAndMask:
        # A subset of the entries of a sample, divided by its sum, is a Dirichlet sample, too.
        # The validation of the arguments would wait for the device.
        distribution = DirichletDistribution(concentration(alpha), validate_args=False)
        return _normalize(distribution.rsample(), mask), None


def _normalize(values: Tensor, mask: Tensor | None) -> Tensor:
    """Set the values outside the mask to 0 and divide by the sum of each edge."""
    values = values if mask is None else values * mask
    total = values.sum(-1, keepdim=True)
    return values / total.where(total > 0, torch.ones_like(total))  # an edge may have no candidates
