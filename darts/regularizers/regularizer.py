"""Terms beside the losses of weights and alphas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from darts.parts import Registry
from darts.spaces.mixture import Mixture
from darts.spaces.setting import Setting

REGULARIZERS = Registry("regularizer", "darts.regularizers")


@dataclass
class Regularizer:
    """Adds nothing, unless a subclass does."""

    name: str = ""

    def alpha_term(self, alphas: Mapping[str, Tensor], setting: Setting) -> Tensor | None:
        """Added to the loss that the alphas are to lower: a scalar with a graph to them."""
        return None

    def weight_term(
        self,
        mixture: Mixture,
        loss: Callable[[Mixture], Tensor],
        slope: Callable[[Mixture], Mapping[str, Tensor]],
        setting: Setting,
    ) -> Tensor | None:
        """Added to the loss that the weights are to lower.

        Args:
            mixture: of the weight step.
            loss: training loss of any mixture, with a graph to the weights.
            slope: its gradient with respect to the mixing weights, by group, without a graph.
            setting: of the search.
        """
        return None


@REGULARIZERS.register
@dataclass
class NoRegularizer(Regularizer):
    """The losses as they are."""

    name: str = "none"
