"""Anchor: keep Dirichlet distributions close to the uniform one.

References:
    Chen et al., "DrNAS", arXiv:2006.10355, equation 3: the distance to the anchor ``beta = 1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from darts.methods.regularizer import REGULARIZERS, Regularizer
from darts.methods.relaxation_dirichlet import concentration
from darts.registry import number
from darts.spaces import SearchContext


@REGULARIZERS.register
@dataclass
class Anchor(Regularizer):
    """``weight`` times the sum over edges of the KL divergence from ``Dirichlet(1, ..., 1)``."""

    name: str = "anchor"
    weight: float = number(1e-3, low=0)

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor:
        terms = []
        for group in context.candidates:
            beta = concentration(alphas[group])
            uniform = Dirichlet(torch.ones_like(beta))
            terms.append(kl_divergence(Dirichlet(beta), uniform).sum())
        return self.weight * torch.stack(terms).sum()
