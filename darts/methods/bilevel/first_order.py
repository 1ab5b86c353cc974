"""Gradients of the alphas at the current weights: first-order and single-level.

References:
    DARTS, arXiv:1806.09055, section 2.3: equation 7 with xi = 0.
    Xie et al., "SNAS", arXiv:1812.09926, section 2.2: weights and alphas share one objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer

from darts.methods.bilevel.arch_gradient import GRADIENTS, ArchGradient, GradientInputs
from darts.methods.bilevel.functional import (
    BatchT,
    FunctionalLoss,
    LossFunction,
    Net,
    Reduce,
    gradients,
)


def first_order(
    net: Net,
    loss_fn: LossFunction[Net, BatchT],
    train_batch: BatchT,
    valid_batch: BatchT,
    optimizer: Optimizer,
    *,
    reduce: Reduce | None = None,
) -> dict[str, Tensor]:
    """Return the gradient of the validation loss with respect to the alphas, by group.

    The weights enter as constants, so that no weight gradients are computed. Groups without a cell
    in the supernet have a zero gradient. See ``GradientInputs`` for the arguments. ``train_batch``
    and ``optimizer`` are not used; they are there because all gradients have the same signature.
    """
    return FirstOrder()(net, loss_fn, train_batch, valid_batch, optimizer, reduce=reduce)


@GRADIENTS.register
@dataclass
class FirstOrder(ArchGradient):
    """The gradient of the validation loss at the current weights."""

    captures: ClassVar[bool] = True
    name: str = "first_order"

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        loss = FunctionalLoss(inputs.net, inputs.loss_fn)
        weights = [weight.detach() for weight in loss.weights]
        alpha_gradients = gradients(loss.at(weights, loss.alphas, inputs.valid_batch), loss.alphas)
        return loss.by_group(inputs.reduce(alpha_gradients) if inputs.reduce else alpha_gradients)


@GRADIENTS.register
@dataclass
class SingleLevel(FirstOrder):
    """The gradient of the training loss; the validation batch is not used.

    The search computes it in the weight step, from the same random draws, instead of calling
    ``gradient``.
    """

    joins_weight_step: ClassVar[bool] = True
    captures: ClassVar[bool] = True
    name: str = "single_level"

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        return super().gradient(replace(inputs, valid_batch=inputs.train_batch))
