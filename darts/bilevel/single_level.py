"""Alphas that learn from the batch of the weights: one level instead of two.

References:
    Xie et al., "SNAS", arXiv:1812.09926, section 2.2: weights and alphas share one objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.first_order import first_order
from darts.bilevel.functional import Reduce


@GRADIENTS.register
@dataclass
class SingleLevel(ArchGradient):
    """The gradient of the training loss."""

    name: str = "single_level"

    def __call__(self, *problem: Any, reduce: Reduce | None = None) -> dict[str, Tensor]:
        net, loss_fn, train_batch, _, optimizer = problem
        return first_order(net, loss_fn, train_batch, train_batch, optimizer, reduce=reduce)
