"""Weights trained against random or adversarial changes of the architecture.

References:
    Chen and Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based
    Regularization", arXiv:2002.05283, section 3 and algorithm 1 (SDARTS-RS and SDARTS-ADV); the
    attack: Madry et al., arXiv:1706.06083.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.methods.perturbation import PERTURBATIONS, Perturbation, Slope
from darts.registry import number
from darts.spaces.mixture import Mixture


@PERTURBATIONS.register
@dataclass
class RandomSmoothing(Perturbation):
    """Uniform noise within a ball of the maximum norm, whose radius grows linearly.

    What comes out stays a mixture: no weight is negative, and those of an edge have their sum.

    Attributes:
        radius: at the start of the search, on the scale of mixing weights.
        radius_end: at its end.
    """

    name: str = "random"
    radius: float = number(0.03, low=0)
    radius_end: float = number(0.3, low=0)

    def __call__(self, mixture: Mixture, slope: Slope, progress: float) -> Mixture:
        return moved(mixture, noise(mixture, self.radius_at(progress)))

    def radius_at(self, progress: float) -> float:
        """The radius of an epoch."""
        return self.radius + (self.radius_end - self.radius) * progress


@PERTURBATIONS.register
@dataclass
class Adversarial(RandomSmoothing):
    """The worst change within the ball, as steps along the sign of the gradient find it.

    Attributes:
        steps: of the attack, each of twice the radius over their number, from a random start.
    """

    name: str = "adversarial"
    steps: int = number(7, low=1)

    def __call__(self, mixture: Mixture, slope: Slope, progress: float) -> Mixture:
        radius = self.radius_at(progress)
        change = noise(mixture, radius)
        for _ in range(self.steps):
            uphill = slope(moved(mixture, change))
            change = {
                group: (delta + 2 * radius / self.steps * uphill[group].sign()).clamp(
                    -radius, radius
                )
                for group, delta in change.items()
            }
        return moved(mixture, change)


def noise(mixture: Mixture, radius: float) -> dict[str, Tensor]:
    """Uniform draws between minus and plus the radius, by group."""
    return {g: torch.empty_like(w).uniform_(-radius, radius) for g, w in mixture.items()}


def moved(mixture: Mixture, change: Mapping[str, Tensor]) -> Mixture:
    """The mixture plus a change, brought back to weights of the same sum on each edge."""
    weights = {}
    for group, weight in mixture.items():
        mask = None if mixture.active is None else mixture.active.get(group)
        new = (weight + change[group]).clamp(0, None)
        new = new if mask is None else new * mask
        total, wanted = (w.sum(-1, keepdim=True) for w in (new, weight))
        # An edge that has lost all its weight has nothing to be scaled: it stays as it was.
        weights[group] = torch.where(total > 0, new * (wanted / total.clamp_min(1e-12)), weight)
    return mixture.replaced(weights)
