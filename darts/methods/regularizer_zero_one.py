"""Zero-one loss: push every sigmoid towards 0 or 1, so that discretization changes little.

References:
    Chu et al., "Fair DARTS", arXiv:1911.12126, equation 4 (the zero-one loss of squares).
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
class ZeroOne(Regularizer):
    """``-weight`` times the mean of ``(sigmoid(alpha) - 1/2) ** 2``."""

    name: str = "zero_one"
    weight: float = number(10.0, low=0)

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor:
        values = torch.cat([alphas[group].sigmoid().flatten() for group in context.candidates])
        return -self.weight * (values - 0.5).square().mean()
