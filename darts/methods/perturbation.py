"""Mixing weights perturbed in the weight steps, so that the loss is flat around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from darts.registry import Registry
from darts.spaces.mixture import Mixture

PERTURBATIONS = Registry("perturbation", "darts.methods")

# The gradient of the training loss with respect to the weights of a mixture, by group.
Slope = Callable[[Mixture], Mapping[str, Tensor]]


@dataclass
class Perturbation:
    """Nothing is moved, unless a subclass does."""

    name: str = ""

    def __call__(self, mixture: Mixture, slope: Slope, progress: float) -> Mixture:
        """The mixture to train the weights with.

        Args:
            mixture: as the relaxation gives it, without a graph.
            slope: of the training loss.
            progress: share of the search that is over, in [0, 1).
        """
        return mixture


@PERTURBATIONS.register
@dataclass
class NoPerturbation(Perturbation):
    """The mixing weights as they are."""

    name: str = "none"
