"""Terms beside the losses of weights and alphas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from darts.registry import Registry
from darts.spaces.context import SearchContext
from darts.spaces.mixture import Mixture

REGULARIZERS = Registry("regularizer", "darts.methods")


@dataclass
class Regularizer:
    """Adds nothing, unless a subclass does."""

    name: str = ""

    def alpha_term(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Tensor | None:
        """Added to the loss that the alphas are to lower: a scalar with a graph to them."""
        return None

    def weight_term(
        self,
        mixture: Mixture,
        loss: Callable[[Mixture], Tensor],
        slope: Callable[[Mixture], Mapping[str, Tensor]],
        context: SearchContext,
    ) -> Tensor | None:
        """Added to the loss that the weights are to lower.

        Args:
            mixture: of the weight step.
            loss: training loss of any mixture, with a graph to the weights.
            slope: its gradient with respect to the mixing weights, by group, without a graph.
            context: of the search.
        """
        return None


@REGULARIZERS.register
@dataclass
class NoRegularizer(Regularizer):
    """The losses as they are."""

    name: str = "none"
