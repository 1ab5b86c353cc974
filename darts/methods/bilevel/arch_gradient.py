"""Base class of the gradient of the alphas as a component of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic

import torch
from torch import Tensor
from torch.optim import Optimizer

from darts.methods.bilevel.functional import BatchT, LossFunction, Net, Reduce
from darts.registry import Registry

GRADIENTS: Registry[ArchGradient] = Registry("bilevel", "darts.methods.bilevel")


@dataclass(frozen=True)
class GradientInputs(Generic[Net, BatchT]):
    """Inputs of ``ArchGradient.gradient``, which does not change any of them.

    Attributes:
        net: Supernet with ``alphas`` and ``weight_parameters()``.
        loss_fn: Scalar loss of a network and a batch.
        train_batch: Batch of the weight step.
        valid_batch: Batch whose loss the alphas minimize.
        optimizer: Optimizer of the weights.
        reduce: Sums tensors over the ranks of a distributed run. The loss of each rank must be its
            share of the loss of the whole batch; a virtual step then uses the whole batch.
    """

    net: Net
    loss_fn: LossFunction[Net, BatchT]
    train_batch: BatchT
    valid_batch: BatchT
    optimizer: Optimizer
    reduce: Reduce | None = None


@dataclass
class ArchGradient(ABC):
    """A way to compute the gradient of the alphas.

    Attributes:
        updates_alphas: Whether the search updates the alphas.
        joins_weight_step: Whether one backward pass of the weight step gives the gradients of the
            weights and the alphas, so that there are no architecture steps.
        requires_sgd: Whether the gradient is taken through a weight step; the optimizer of the
            weights must then be SGD.
        repeats_draws: Whether ``gradient`` uses the same random numbers several times.
    """

    name: str = ""
    updates_alphas: ClassVar[bool] = True
    joins_weight_step: ClassVar[bool] = False
    requires_sgd: ClassVar[bool] = False
    repeats_draws: ClassVar[bool] = False

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
        """Return ``self.gradient`` of these inputs."""
        return self.gradient(
            GradientInputs(net, loss_fn, train_batch, valid_batch, optimizer, reduce)
        )

    def with_clip(self, clip: float) -> ArchGradient:
        """Return this component with a limit on the gradient norm in its virtual step.

        A component without a virtual step, and one whose configuration sets a limit, is returned
        unchanged.
        """
        return self

    @abstractmethod
    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        """Return ``{name: gradient}`` with the shapes of the supernet's alphas."""

    def reports_at(self, step: int) -> bool:
        """Return whether the search calls ``report`` at a step, counted from 0."""
        return False

    def report(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, float]:
        """Return metrics of the gradient by name; none by default."""
        return {}


@GRADIENTS.register
@dataclass
class Frozen(ArchGradient):
    """No architecture steps; the gradient is zero."""

    captures: ClassVar[bool] = True
    name: str = "frozen"
    updates_alphas: ClassVar[bool] = False

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        return {name: torch.zeros_like(alpha) for name, alpha in inputs.net.alphas.items()}
