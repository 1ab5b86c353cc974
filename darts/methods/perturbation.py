"""Base class of perturbations, which disturb the mixing weights in weight steps.

Training the weights with disturbed mixing weights makes the loss flat around the alphas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.methods.mixture_loss import MixtureLoss
from darts.registry import Registry
from darts.spaces import Mixture

PERTURBATIONS: Registry[Perturbation] = Registry("perturbation", "darts.methods")


@PERTURBATIONS.register
@dataclass
class Perturbation:
    """The perturbation ``none``, which changes nothing; others override ``__call__``."""

    captures: ClassVar[bool] = True
    name: str = "none"

    def __call__(self, mixture: Mixture, loss: MixtureLoss, progress: float) -> Mixture:
        """Return the mixture for a weight step.

        Args:
            mixture: Mixture of the relaxation, detached from the alphas.
            loss: Training loss of the step's batch.
            progress: Finished share of the search, in [0, 1).
        """
        return mixture
