"""Keep Dirichlet distributions near the uniform one.

References:
    Chen et al., "DrNAS", arXiv:2006.10355, equation 3: the distance to the anchor ``beta = 1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from darts.parts import number
from darts.regularizers.regularizer import REGULARIZERS, Regularizer
from darts.relaxations.dirichlet import concentration
from darts.spaces.setting import Setting


@REGULARIZERS.register
@dataclass
class Anchor(Regularizer):
    """``weight`` times the sum over edges of the divergence from ``Dirichlet(1, ..., 1)``."""

    name: str = "anchor"
    weight: float = number(1e-3, low=0)

    def alpha_term(self, alphas: Mapping[str, Tensor], setting: Setting) -> Tensor:
        terms = []
        for group in setting.candidates:
            beta = concentration(alphas[group])
            uniform = Dirichlet(torch.ones_like(beta))
            terms.append(kl_divergence(Dirichlet(beta), uniform).sum())
        return self.weight * torch.stack(terms).sum()
