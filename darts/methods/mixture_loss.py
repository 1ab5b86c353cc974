"""The training loss of one batch as a function of the mixture.

Perturbations and regularizers evaluate it; ``darts.searching.mixture_loss`` implements it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor

from darts.spaces import Mixture


class MixtureLoss(Protocol):
    """The training loss of one batch as a function of the mixture, without side effects."""

    def __call__(self, mixture: Mixture) -> Tensor:
        """Return the loss, a scalar, differentiable with respect to the weights of the supernet.

        In a distributed run, it is this rank's share of the loss.
        """

    def value(self, mixture: Mixture) -> float:
        """Return the loss as a number, summed over the ranks."""

    def gradient(self, mixture: Mixture) -> Mapping[str, Tensor]:
        """Return the gradient with respect to the mixing weights by group, summed over ranks."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context in which the supernet is in evaluation mode."""
