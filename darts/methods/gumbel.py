"""Operations drawn by the Gumbel trick: softly (SNAS), or one an edge, which alone runs (GDAS).

References:
    Xie et al., "SNAS", arXiv:1812.09926, equations 5 to 7; Dong and Yang, "Searching for a Robust
    Neural Architecture in Four GPU Hours", arXiv:1910.04465, equations 3 to 6; the distribution:
    Maddison et al., arXiv:1611.00712, and Jang et al., arXiv:1611.01144.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, kept_softmax
from darts.registry import number
from darts.spaces.context import SearchContext


@RELAXATIONS.register
@dataclass
class Concrete(Relaxation):
    """Soft samples: softmax of the alphas with Gumbel noise, at a temperature.

    Attributes:
        temperature: at the start.
        temperature_end: at the end; in between it is linear, epoch by epoch.
    """

    name: str = "concrete"
    temperature: float = number(1.0, above=0)
    temperature_end: float = number(0.03, above=0)

    def probabilities(self, alpha: Tensor, kept: Tensor | None) -> Tensor:
        return kept_softmax(alpha, kept)

    def draw(
        self, alpha: Tensor, kept: Tensor | None, context: SearchContext
    ) -> tuple[Tensor, Any]:
        # The exponential of a finite float32 draw never gives an infinite Gumbel noise.
        tiny = torch.finfo(alpha.dtype).tiny
        noise = -torch.empty_like(alpha).exponential_().clamp_min(tiny).log()
        logits = (alpha.log_softmax(-1) + noise) / self.temperature_at(context.progress)
        return kept_softmax(logits, kept), None

    def temperature_at(self, progress: float) -> float:
        """The temperature of an epoch."""
        return self.temperature + (self.temperature_end - self.temperature) * progress


@RELAXATIONS.register
@dataclass
class Gumbel(Concrete):
    """Hard samples: one operation an edge runs, with weight one; the gradient is the soft one's.

    An operation that did not run has told nothing, so of the soft sample's gradient only the
    component of the drawn operation remains.
    """

    name: str = "gumbel"
    temperature: float = number(10.0, above=0)
    temperature_end: float = number(0.1, above=0)

    def draw(
        self, alpha: Tensor, kept: Tensor | None, context: SearchContext
    ) -> tuple[Tensor, Any]:
        soft, _ = super().draw(alpha, kept, context)
        return hardened(soft)

    def judge(self, alpha: Tensor, kept: Tensor | None) -> tuple[Tensor, Any]:
        return hardened(self.probabilities(alpha, kept))


def hardened(soft: Tensor) -> tuple[Tensor, Tensor]:
    """One-hot at the largest weight, with the gradient of ``soft``; and its mask.

    An edge whose weights are all 0, as it keeps no operation, has none at all.

    Shape: ``(edges, operations)`` -> the same, twice.
    """
    mask = F.one_hot(soft.argmax(-1), soft.shape[-1]).bool() & (soft > 0)
    # Ones and zeros exactly, not to rounding: soft - soft is nothing.
    return mask.to(soft.dtype) + (soft - soft.detach()), mask
