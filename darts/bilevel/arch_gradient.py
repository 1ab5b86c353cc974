"""The gradient of the alphas as a part of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from darts.bilevel.functional import Reduce
from darts.registry import Registry

GRADIENTS = Registry("bilevel", "darts.bilevel")


@dataclass
class ArchGradient(ABC):
    """One way to the gradient of the alphas; what it is called with leaves as it came.

    Attributes:
        updates_alphas: whether there is a gradient at all.
        mirrors_sgd: whether it follows a step of the weights, which must then be one of SGD.
    """

    name: str = ""
    updates_alphas: ClassVar[bool] = True
    mirrors_sgd: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, *problem: Any, reduce: Reduce | None = None) -> dict[str, Tensor]:
        """``{name: gradient}`` with the shapes of the supernet's alphas.

        Args:
            *problem: ``(net, loss_fn, train_batch, valid_batch, optimizer)``: the supernet, the
                scalar loss of ``(net, batch)``, the batch of the weight step, the one whose loss
                the alphas are to lower, and the optimizer of the weights. All are only read.
            reduce: sums tensors over the ranks of a distributed run, where each rank's loss is its
                part of the whole batch's.
        """

    def reports_at(self, step: int) -> bool:
        """Whether there is something to ``report`` at a step, counted from 0."""
        return False

    def report(self, step: int, *problem: Any, reduce: Reduce | None = None) -> dict[str, float]:
        """What there is to tell about the gradient at a step, counted from 0; often nothing."""
        return {}
