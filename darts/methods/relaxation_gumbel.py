"""Operations sampled with Gumbel noise: soft samples (SNAS) or one operation per edge (GDAS).

References:
    Xie et al., "SNAS", arXiv:1812.09926, equations 5 to 7; Dong and Yang, "Searching for a Robust
    Neural Architecture in Four GPU Hours", arXiv:1910.04465, equations 3 to 6; the distribution:
    Maddison et al., arXiv:1611.00712, and Jang et al., arXiv:1611.01144.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, WeightsAndMask, masked_softmax
from darts.registry import number
from darts.spaces import SearchContext


@RELAXATIONS.register
@dataclass
class Concrete(Relaxation):
    """Soft samples: a softmax of the alphas plus Gumbel noise, divided by a temperature.

    Attributes:
        temperature: Temperature in the first epoch.
        temperature_end: Temperature in the last epoch; it changes linearly, once per epoch.
    """

    captures: ClassVar[bool] = True
    name: str = "concrete"
    temperature: float = number(1.0, above=0)
    temperature_end: float = number(0.03, above=0)

    def edge_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return masked_softmax(alpha, mask)

    def sample_weights(
        self, alpha: Tensor, mask: Tensor | None, context: SearchContext
    ) -> WeightsAndMask:
        # The clamp excludes exponential draws of 0, whose Gumbel noise would be infinite.
        tiny = torch.finfo(alpha.dtype).tiny
        noise = -torch.empty_like(alpha).exponential_().clamp_min(tiny).log()
        logits = (alpha.log_softmax(-1) + noise) / self.temperature_at(context.schedule)
        return masked_softmax(logits, mask), None

    def temperature_at(self, schedule: float) -> float:
        """Return the temperature, where ``schedule`` is ``SearchContext.schedule``."""
        return self.temperature + (self.temperature_end - self.temperature) * schedule


@RELAXATIONS.register
@dataclass
class Gumbel(Concrete):
    """Hard samples: each edge runs one operation with weight one.

    The gradient is that of the soft sample, restricted to the sampled operation, because the
    outputs of the other operations are unknown.
    """

    name: str = "gumbel"
    temperature: float = number(10.0, above=0)
    temperature_end: float = number(0.1, above=0)

    def sample_weights(
        self, alpha: Tensor, mask: Tensor | None, context: SearchContext
    ) -> WeightsAndMask:
        soft, _ = super().sample_weights(alpha, mask, context)
        return straight_through(soft)

    def mean_weights(self, alpha: Tensor, mask: Tensor | None) -> WeightsAndMask:
        return straight_through(self.edge_probabilities(alpha, mask))


def straight_through(soft: Tensor) -> tuple[Tensor, Tensor]:
    """Return one-hot weights at the maximum, with the gradient of ``soft``, and their mask.

    All are ``(edges, operations)``. An edge whose weights are all 0, because none of its candidates
    is left, selects no operation.
    """
    mask = F.one_hot(soft.argmax(-1), soft.shape[-1]).bool() & (soft > 0)
    # The difference is exactly 0, so that the weights are exactly ones and zeros.
    return mask.to(soft.dtype) + (soft - soft.detach()), mask
