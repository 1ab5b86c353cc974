"""Perturbations, which disturb the mixing weights while the weights of the supernet are trained.

Training the weights with disturbed mixing weights makes the loss flat around the alphas.

References:
    Chen and Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based
    Regularization", arXiv:2002.05283, section 3 and algorithm 1 (SDARTS-RS and SDARTS-ADV); the
    attack: Madry et al., arXiv:1706.06083.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.methods.bilevel.functional import MixtureLoss
from darts.ops.transfer import constant_on
from darts.registry import Registry, number
from darts.spaces import ByGroup, Mixture

PERTURBATIONS: Registry[Perturbation] = Registry("perturbation", "darts.methods")


@PERTURBATIONS.register
@dataclass
class Perturbation:
    """The perturbation ``none``, which changes nothing; others override ``__call__``."""

    name: str = "none"

    def __call__(self, mixture: Mixture, loss: MixtureLoss, progress: float) -> Mixture:
        """Return the mixture for a weight step.

        Args:
            mixture: Mixture of the relaxation, detached from the alphas.
            loss: Training loss of the step's batch.
            progress: Finished share of the search, in [0, 1).
        """
        return mixture


@PERTURBATIONS.register
@dataclass
class RandomSmoothing(Perturbation):
    """Uniform noise in a ball of the maximum norm; its radius changes linearly during the search.

    The result is a mixture: no weight is negative, and the sum of each edge is preserved.
    ``radius`` is the radius at the start of the search, ``radius_end`` the radius at its end.
    """

    name: str = "random"
    radius: float = number(0.03, low=0)
    radius_end: float = number(0.3, low=0)

    def __call__(self, mixture: Mixture, loss: MixtureLoss, progress: float) -> Mixture:
        return perturb(mixture, uniform_noise(mixture, self.radius_at(progress)))

    def radius_at(self, progress: float) -> float:
        return self.radius + (self.radius_end - self.radius) * progress


@PERTURBATIONS.register
@dataclass
class Adversarial(RandomSmoothing):
    """The change within the ball that raises the loss most, found by sign-gradient steps.

    As in the authors' code, the supernet is in evaluation mode during the attack, each step ends
    with a projection to mixtures, and a change that lowers the loss is dropped. The attack starts
    at random; each of its ``steps`` has the length ``2 * radius / steps``.
    """

    name: str = "adversarial"
    steps: int = number(7, low=1)

    def __call__(self, mixture: Mixture, loss: MixtureLoss, progress: float) -> Mixture:
        radius = self.radius_at(progress)
        with loss.evaluating():
            before = loss.value(mixture)
            attack = perturb(mixture, uniform_noise(mixture, radius))
            for _ in range(self.steps):
                ascent = loss.gradient(attack)
                change = {}
                for group, weight in attack.items():
                    step = 2 * radius / self.steps * ascent[group].sign()
                    change[group] = (weight + step - mixture[group]).clamp(-radius, radius)
                attack = perturb(mixture, change)
            return attack if loss.value(attack) >= before else mixture


def uniform_noise(mixture: Mixture, radius: float) -> dict[str, Tensor]:
    """Return uniform samples within ``radius`` of 0 in the shapes of a mixture."""
    return {
        group: torch.empty_like(weight).uniform_(-radius, radius)
        for group, weight in mixture.items()
    }


def perturb(mixture: Mixture, change: ByGroup) -> Mixture:
    """Add a change to a mixture, clamp it to [0, 1] and restore the sum of each edge.

    If clamping sets all weights of an edge to 0, the largest weight before clamping gets the whole
    sum.
    """
    weights = {}
    for group, weight in mixture.items():
        mask = None if mixture.active is None else mixture.active.get(group)
        changed = weight + change[group]
        if mask is not None:
            changed = changed.masked_fill(~constant_on(mask, changed.device), -math.inf)
        largest = F.one_hot(changed.argmax(-1), changed.shape[-1]).to(weight.dtype)
        clamped = changed.clamp(0, 1)
        total, target = clamped.sum(-1, keepdim=True), weight.sum(-1, keepdim=True)
        rescaled = clamped * (target / total.clamp_min(1e-12))
        weights[group] = torch.where(total > 0, rescaled, target * largest)
    return mixture.with_weights(weights)
