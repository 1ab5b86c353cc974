"""Beta-decay: keep the softmax weights of the alphas from diverging.

References:
    Ye et al., "Beta-DARTS", arXiv:2203.01665, section 3.2: the log of the softmax denominator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.methods.regularizer import REGULARIZERS, Regularizer
from darts.registry import number
from darts.spaces import SearchContext


@REGULARIZERS.register
@dataclass
class BetaDecay(Regularizer):
    """The mean of ``logsumexp(alpha)`` over all edges, times a weight that grows linearly from 0.

    Attributes:
        weight: weight at the end of the search.
    """

    name: str = "beta_decay"
    weight: float = number(50.0, low=0)

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor:
        values = torch.cat([alphas[group].logsumexp(-1) for group in context.candidates])
        return self.weight * context.progress * values.mean()
