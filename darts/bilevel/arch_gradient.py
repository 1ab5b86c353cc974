"""Base class of the gradient of the alphas as a component of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.functional import BatchT, LossFunction, Net, Reduce
from darts.registry import Registry

GRADIENTS: Registry[ArchGradient] = Registry("bilevel", "darts.bilevel")


@dataclass
class ArchGradient(ABC):
    """A way to compute the gradient of the alphas. It changes none of its arguments.

    Attributes:
        updates_alphas: whether the search takes architecture steps.
        mirrors_sgd: whether it differentiates through a weight step, which must be one of SGD.
    """

    name: str = ""
    updates_alphas: ClassVar[bool] = True
    mirrors_sgd: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self,
        net: Net,
        loss_fn: LossFunction[Net, BatchT],
        train_batch: BatchT,
        valid_batch: BatchT,
        optimizer: Optimizer,
        *,
        reduce: Reduce | None = None,
    ) -> dict[str, Tensor]:
        """Compute the gradient.

        Args:
            net: supernet.
            loss_fn: scalar loss of a network and a batch.
            train_batch: batch of the weight step.
            valid_batch: batch whose loss the alphas minimize.
            optimizer: optimizer of the weights.
            reduce: sums tensors over the ranks of a distributed run. The loss of each rank must be
                its share of the loss of the whole batch.

        Returns:
            ``{name: gradient}`` with the shapes of the supernet's alphas.
        """

    def reports_at(self, step: int) -> bool:
        """Return whether ``report`` returns metrics at a step, counted from 0."""
        return False

    def report(
        self,
        step: int,
        net: Net,
        loss_fn: LossFunction[Net, BatchT],
        train_batch: BatchT,
        valid_batch: BatchT,
        optimizer: Optimizer,
        *,
        reduce: Reduce | None = None,
    ) -> dict[str, float]:
        """Return metrics of the gradient at a step, counted from 0; usually none."""
        return {}
