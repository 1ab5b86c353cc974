"""Base class of perturbations, which disturb the mixing weights in weight steps.

Training the weights with disturbed mixing weights makes the loss flat around the alphas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from darts.registry import Registry
from darts.spaces import Mixture

PERTURBATIONS: Registry[Perturbation] = Registry("perturbation", "darts.methods")

MixtureGradient = Callable[[Mixture], Mapping[str, Tensor]]
"""Gradient of the training loss with respect to the weights of a mixture, by group."""


@PERTURBATIONS.register
@dataclass
class Perturbation:
    """The perturbation ``none``, which changes nothing; others override ``__call__``."""

    name: str = "none"

    def __call__(self, mixture: Mixture, gradient: MixtureGradient, progress: float) -> Mixture:
        """Return the mixture for a weight step.

        Args:
            mixture: Mixture of the relaxation, detached from the alphas.
            gradient: Function that computes the gradient of the training loss at a mixture.
            progress: Finished share of the search, in [0, 1).
        """
        return mixture
