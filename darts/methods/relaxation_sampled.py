"""Relaxations that draw random numbers in every training step.

References:
    Xie et al., "SNAS", arXiv:1812.09926, equations 5 to 7, and Dong and Yang, "Searching for a
    Robust Neural Architecture in Four GPU Hours" (GDAS), arXiv:1910.04465, equations 3 to 6: Gumbel
    noise; the distribution: Maddison et al., arXiv:1611.00712, and Jang et al., arXiv:1611.01144.
    Chen et al., "DrNAS: Dirichlet Neural Architecture Search", arXiv:2006.10355, section 2.2. The
    pathwise gradient is PyTorch's (Jankowiak and Obermeyer, arXiv:1806.01851).
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638, section 3.2: random search with shared weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet as DirichletDistribution

from darts.methods.relaxation import RELAXATIONS, Relaxation, masked_softmax
from darts.methods.stages import Stage
from darts.ops.transfer import to_device
from darts.registry import choice, number
from darts.spaces import AnyGenotype, ByGroup, Mixture, SearchContext, Space


@RELAXATIONS.register
@dataclass
class Concrete(Relaxation):
    """Soft samples: a softmax of the alphas plus Gumbel noise, divided by a temperature.

    The temperature changes linearly, once per epoch, and is ``temperature_end`` in the last epoch.
    """

    name: str = "concrete"
    temperature: float = number(1.0, above=0)
    temperature_end: float = number(0.03, above=0)

    def sample_weights(self, alpha: Tensor, mask: Tensor | None, context: SearchContext) -> Tensor:
        # The clamp excludes exponential draws of 0, whose Gumbel noise would be infinite.
        tiny = torch.finfo(alpha.dtype).tiny
        noise = -torch.empty_like(alpha).exponential_().clamp_min(tiny).log()
        logits = (alpha.log_softmax(-1) + noise) / self.temperature_at(context.schedule_position)
        return masked_softmax(logits, mask)

    def temperature_at(self, position: float) -> float:
        """Return the temperature at a position in the schedule of the search, in [0, 1]."""
        return self.temperature + (self.temperature_end - self.temperature) * position


@RELAXATIONS.register
@dataclass
class Gumbel(Concrete):
    """Hard samples: each edge runs one operation with weight one.

    The gradient is the gradient of the soft sample, restricted to the sampled operation, because
    the outputs of the other operations are unknown.
    """

    is_sparse: ClassVar[bool] = True
    name: str = "gumbel"
    temperature: float = number(10.0, above=0)
    temperature_end: float = number(0.1, above=0)

    def sample_weights(self, alpha: Tensor, mask: Tensor | None, context: SearchContext) -> Tensor:
        return straight_through(super().sample_weights(alpha, mask, context))

    def mean_weights(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return straight_through(self.operation_probabilities(alpha, mask))


def straight_through(soft: Tensor) -> Tensor:
    """Return one-hot weights at the maximum, with the gradient of ``soft``.

    Both are ``(edges, operations)``. An edge whose weights are all 0, because none of its
    candidates is left, selects no operation.
    """
    selected = F.one_hot(soft.argmax(-1), soft.shape[-1]) * (soft > 0)
    # The difference is exactly 0, so that the weights are exactly ones and zeros.
    return selected.to(soft.dtype) + (soft - soft.detach())


def concentration(alpha: Tensor) -> Tensor:
    """Return the positive parameters ``elu(alpha) + 1`` of the Dirichlet distribution."""
    # The clamp excludes 0, which elu(alpha) + 1 reaches by rounding, for example at alpha = -100.
    return (F.elu(alpha) + 1).clamp_min(torch.finfo(alpha.dtype).tiny)


@RELAXATIONS.register
@dataclass
class Dirichlet(Relaxation):
    """One sample per edge in training, and the mean of the distribution in evaluation.

    The genotype is derived from the mean, as in the paper, or from the softmax of the alphas, as in
    the authors' code. Both agree on the best operation of an edge, but not always on the best edges
    of a node.
    """

    name: str = "dirichlet"
    ranking: str = choice("mean", "mean", "softmax")

    def operation_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        if self.ranking == "softmax":
            return super().operation_probabilities(alpha, mask)
        return _normalize(concentration(alpha), mask)

    def mean_weights(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return _normalize(concentration(alpha), mask)

    def sample_weights(self, alpha: Tensor, mask: Tensor | None, context: SearchContext) -> Tensor:
        # A subset of the entries of a sample, divided by its sum, is also a Dirichlet sample.
        # The validation of the arguments would wait for the device.
        distribution = DirichletDistribution(concentration(alpha), validate_args=False)
        return _normalize(distribution.rsample(), mask)


def _normalize(values: Tensor, mask: Tensor | None) -> Tensor:
    """Set the values outside the mask to 0 and divide by the sum of each edge."""
    values = values if mask is None else values * mask
    total = values.sum(-1, keepdim=True)
    return values / total.where(total > 0, torch.ones_like(total))  # an edge may have no candidates


@RELAXATIONS.register
@dataclass
class Uniform(Relaxation):
    """One random architecture of the space in each training step."""

    uses_alphas: ClassVar[bool] = False
    name: str = "uniform"

    def operation_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return masked_softmax(torch.zeros_like(alpha), mask)

    def mixture(self, alphas: ByGroup, context: SearchContext) -> Mixture:
        return self._path(context.space.random(torch.default_generator), alphas, context)

    def _path(self, genotype: AnyGenotype, alphas: ByGroup, context: SearchContext) -> Mixture:
        """Return the mixture of one architecture."""
        masks = {
            group: _replace_dropped(mask, context.masks[group]) if group in context.masks else mask
            for group, mask in context.space.mask(genotype, context.candidates).items()
        }
        weights = {
            group: to_device(mask.to(alphas[group].dtype), alphas[group].device)
            for group, mask in masks.items()
        }
        return self._mixture(weights, alphas, context, masks)


@RELAXATIONS.register
@dataclass
class Sandwich(Uniform):
    """The largest, the smallest and some random networks in each weight step.

    All but the largest one learn its outputs instead of the labels, if the samples have classes.
    Gradients are means over the networks. The space must have a largest network, whose slices are
    all others.

    References:
        Yu et al., "BigNAS", arXiv:2003.11142, section 3.1: sandwich rule, in-place distillation.

    Attributes:
        networks: Number of random networks.
    """

    name: str = "sandwich"
    networks: int = number(2, low=0)

    def check(self, space: Space, stages: Sequence[Stage]) -> None:
        space.extremes()
        if any(stage.keep < 1 for stage in stages):
            raise ValueError("keeps all candidates; set keep=1 in all stages")

    def mixture(self, alphas: ByGroup, context: SearchContext) -> Mixture:
        return self._path(context.space.extremes()[1], alphas, context)

    def mean_mixture(self, alphas: ByGroup, context: SearchContext) -> Mixture:
        return self.mixture(alphas, context)

    def mixtures(self, alphas: ByGroup, context: SearchContext) -> list[Mixture]:
        smallest, largest = context.space.extremes()
        random = [context.space.random(torch.default_generator) for _ in range(self.networks)]
        return [self._path(genotype, alphas, context) for genotype in (largest, *random, smallest)]


def _replace_dropped(mask: Tensor, candidates: Tensor) -> Tensor:
    """Replace each operation that is no longer a candidate by a random candidate of its edge."""
    scores = torch.rand(candidates.shape).masked_fill(~candidates, -1.0)
    replacement = F.one_hot(scores.argmax(-1), candidates.shape[1]).bool() & candidates
    valid = mask & candidates
    return valid | replacement & (mask.any(-1) & ~valid.any(-1))[:, None]
