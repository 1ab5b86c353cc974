"""The gradient of the alphas as a part of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.functional import LossFunction, Reduce
from darts.parts import Registry

GRADIENTS = Registry("bilevel", "darts.bilevel")


@dataclass
class ArchGradient:
    """One way to the gradient of the alphas; what it is called with leaves as it came.

    Attributes:
        moves_alphas: whether there is a gradient at all.
    """

    name: str = ""
    moves_alphas: ClassVar[bool] = True

    def __call__(
        self,
        net: Any,
        loss_fn: LossFunction,
        train_batch: Any,
        valid_batch: Any,
        optimizer: Optimizer,
        *,
        reduce: Reduce | None = None,
    ) -> dict[str, Tensor]:
        """``{name: gradient}`` with the shapes of ``net.alphas``.

        Args:
            net: supernet with ``alphas`` and ``weight_parameters()``; left exactly as found.
            loss_fn: scalar loss of ``(net, batch)``.
            train_batch: the batch of the weight step.
            valid_batch: the batch whose loss the alphas are to lower.
            optimizer: of the weights; only read.
            reduce: sums tensors over the ranks of a distributed run, where each rank's loss is its
                part of the whole batch's.
        """
        raise NotImplementedError

    def report(
        self,
        step: int,
        net: Any,
        loss_fn: LossFunction,
        train_batch: Any,
        valid_batch: Any,
        optimizer: Optimizer,
        *,
        reduce: Reduce | None = None,
    ) -> dict[str, float]:
        """What there is to tell about the gradient at a step, counted from 0; often nothing."""
        return {}
