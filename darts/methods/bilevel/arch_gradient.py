"""The gradient of the alphas as a component, and the gradients at the current weights.

References:
    DARTS, arXiv:1806.09055, section 2.3: equation 7 with xi = 0.
    Xie et al., "SNAS", arXiv:1812.09926, section 2.2: weights and alphas share one objective.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Generic

import torch
from torch import Tensor
from torch.optim import Optimizer

from darts.methods.bilevel.functional import (
    BatchT,
    FunctionalLoss,
    LossFunction,
    Net,
    Reduce,
    gradients,
    unreduced,
)
from darts.registry import Registry

GRADIENTS: Registry[ArchGradient] = Registry("bilevel", "darts.methods.bilevel")


@dataclass(frozen=True)
class GradientInputs(Generic[Net, BatchT]):
    """Inputs of ``ArchGradient.gradient``, which does not change any of them."""

    net: Net
    loss_fn: LossFunction[Net, BatchT]
    train_batch: BatchT  # of the weight step
    valid_batch: BatchT  # whose loss the alphas minimize
    optimizer: Optimizer  # of the weights
    # Sums tensors over the ranks. The loss of each rank must be its share of the loss of the whole
    # batch; a virtual step then uses the whole batch.
    reduce: Reduce = unreduced


@dataclass
class ArchGradient(ABC):
    """A way to compute the gradient of the alphas; the component ``bilevel`` of a method."""

    name: str = ""
    updates_alphas: ClassVar[bool] = True
    # Whether one backward pass of the weight step gives the gradients of weights and alphas; there
    # are no architecture steps then.
    joins_weight_step: ClassVar[bool] = False
    requires_sgd: ClassVar[bool] = False  # whether the gradient is taken through a weight step

    def with_clip(self, clip: float) -> ArchGradient:
        """Return this component with a limit on the gradient norm in its virtual step.

        A component without a virtual step, and one whose configuration sets a limit, is returned
        unchanged.
        """
        return self

    @abstractmethod
    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        """Return ``{name: gradient}`` with the shapes of the supernet's alphas."""


@GRADIENTS.register
@dataclass
class Frozen(ArchGradient):
    """No architecture steps; the gradient is zero."""

    name: str = "frozen"
    updates_alphas: ClassVar[bool] = False

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        return {name: torch.zeros_like(alpha) for name, alpha in inputs.net.alphas.items()}


@GRADIENTS.register
@dataclass
class FirstOrder(ArchGradient):
    """The gradient of the validation loss at the current weights."""

    name: str = "first_order"

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        loss = FunctionalLoss(inputs.net, inputs.loss_fn)
        weights = [weight.detach() for weight in loss.weights]
        alpha_gradients = gradients(loss.at(weights, loss.alphas, inputs.valid_batch), loss.alphas)
        return loss.by_group(inputs.reduce(alpha_gradients))


@GRADIENTS.register
@dataclass
class SingleLevel(FirstOrder):
    """The gradient of the training loss; the validation batch is not used.

    The search computes it in the weight step, from the same random draws, instead of calling
    ``gradient``.
    """

    joins_weight_step: ClassVar[bool] = True
    name: str = "single_level"

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        return super().gradient(replace(inputs, valid_batch=inputs.train_batch))


def first_order(
    net: Net,
    loss_fn: LossFunction[Net, BatchT],
    train_batch: BatchT,
    valid_batch: BatchT,
    optimizer: Optimizer,
    *,
    reduce: Reduce = unreduced,
) -> dict[str, Tensor]:
    """Return the gradient of the validation loss with respect to the alphas, by group.

    The weights enter as constants, so that no weight gradients are computed. Groups without a cell
    in the supernet have a zero gradient. See ``GradientInputs`` for the arguments. ``train_batch``
    and ``optimizer`` are not used; they are there because all gradients have the same signature.
    """
    return FirstOrder().gradient(
        GradientInputs(net, loss_fn, train_batch, valid_batch, optimizer, reduce)
    )
