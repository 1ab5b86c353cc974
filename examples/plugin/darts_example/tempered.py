"""Softmax with a temperature: above one, the probabilities of an edge become more equal."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Relaxation, masked_softmax
from darts.registry import number


@RELAXATIONS.register
@dataclass
class Tempered(Relaxation):
    """A softmax of the alphas divided by a temperature."""

    name: str = "tempered"
    temperature: float = number(2.0, above=0)

    def operation_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        return masked_softmax(alpha / self.temperature, mask)
