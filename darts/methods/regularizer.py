"""Base class of regularizers, which add terms to the losses of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from darts.methods.mixture_loss import MixtureLoss
from darts.registry import Registry
from darts.spaces import Mixture, SearchContext

REGULARIZERS: Registry[Regularizer] = Registry("regularizer", "darts.methods")


@REGULARIZERS.register
@dataclass
class Regularizer:
    """The regularizer ``none``, which has no terms; others override one or both methods."""

    captures: ClassVar[bool] = True
    name: str = "none"

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor | None:
        """Return a scalar to add to the loss of the alphas, or None.

        It is differentiable with respect to the alphas.
        """
        return None

    def weight_term(
        self, mixture: Mixture, loss: MixtureLoss, context: SearchContext
    ) -> Tensor | None:
        """Return a scalar to add to the loss of the weights, or None.

        It is differentiable with respect to the weights.

        Args:
            mixture: Mixture of the weight step.
            loss: Training loss of the step's batch, in float32.
            context: Search context.
        """
        return None
