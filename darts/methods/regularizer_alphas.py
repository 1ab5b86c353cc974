"""Regularizers that add a term to the loss of the alphas.

References:
    Chen et al., "DrNAS", arXiv:2006.10355, equation 3: the distance to the anchor ``beta = 1``.
    Ye et al., "Beta-DARTS", arXiv:2203.01665, section 3.2: the log of the softmax denominator.
    Chu et al., "Fair DARTS", arXiv:1911.12126, equation 4 (the zero-one loss of squares).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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
    """A term that keeps Dirichlet distributions close to the uniform one.

    It is ``weight`` times the sum over edges of the KL divergence from
    ``Dirichlet(1, ..., 1)``.
    """

    captures: ClassVar[bool] = True
    name: str = "anchor"
    weight: float = number(1e-3, low=0)

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor:
        terms = []
        for group in context.candidates:
            beta = concentration(alphas[group])
            # The validation of the arguments would wait for a GPU.
            uniform = Dirichlet(torch.ones_like(beta), validate_args=False)
            terms.append(kl_divergence(Dirichlet(beta, validate_args=False), uniform).sum())
        return self.weight * torch.stack(terms).sum()


@REGULARIZERS.register
@dataclass
class BetaDecay(Regularizer):
    """A term that keeps the denominator of the softmax of the alphas small.

    It is the mean of ``logsumexp(alpha)`` over all edges, times a weight that grows linearly with
    the epoch. As in the authors' code, the growth per epoch does not depend on the length of the
    search.

    Attributes:
        weight: Weight of the term in epoch ``epochs``, counted from 0.
        epochs: Epochs in which the weight grows from 0 to ``weight``; it grows on afterwards.
    """

    captures: ClassVar[bool] = True
    name: str = "beta_decay"
    weight: float = number(50.0, low=0)
    epochs: int = number(100, low=1)

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor:
        values = torch.cat([alphas[group].logsumexp(-1) for group in context.candidates])
        return self.weight * context.epoch / self.epochs * values.mean()


@REGULARIZERS.register
@dataclass
class ZeroOne(Regularizer):
    """A term that pushes every sigmoid toward 0 or 1, so that discretization changes little.

    It is ``-weight`` times the mean of ``(sigmoid(alpha) - 1/2) ** 2``.
    """

    captures: ClassVar[bool] = True
    name: str = "zero_one"
    weight: float = number(10.0, low=0)

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor:
        values = torch.cat([alphas[group].sigmoid().flatten() for group in context.candidates])
        return -self.weight * (values - 0.5).square().mean()
