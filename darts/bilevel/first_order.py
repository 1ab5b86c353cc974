"""The first-order gradient of the alphas.

References:
    DARTS, arXiv:1806.09055, section 2.3: equation 7 with xi = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.functional import FunctionalLoss, LossFunction, Reduce, gradients


def first_order(
    net: Any,
    loss_fn: LossFunction,
    train_batch: Any,
    valid_batch: Any,
    optimizer: Optimizer,
    *,
    reduce: Reduce | None = None,
) -> dict[str, Tensor]:
    """Gradient of the validation loss with respect to the alphas at the present weights.

    The weights enter as constants, so that no weight gradient is computed on the way.

    Args:
        net: supernet with ``alphas`` and ``weight_parameters()``; left exactly as found.
        loss_fn: scalar loss of ``(net, batch)``.
        train_batch: not used; here so that all bilevel gradients are called alike.
        valid_batch: the batch whose loss is differentiated.
        optimizer: not used, likewise.
        reduce: sums tensors over the ranks of a distributed run, where each rank's loss is its
            part of the whole batch's.

    Returns:
        ``{name: gradient}`` with the shapes of ``net.alphas``.
    """
    loss = FunctionalLoss(net, loss_fn)
    value = loss.at([weight.detach() for weight in loss.weights], loss.alphas, valid_batch)
    # Alphas of a kind of cell that the supernet has none of have no part in the loss.
    found = gradients(value, loss.alphas)
    return loss.named(reduce(found) if reduce else found)


@GRADIENTS.register
@dataclass
class FirstOrder(ArchGradient):
    """The gradient at the present weights."""

    name: str = "first_order"

    def __call__(self, *problem: Any, reduce: Reduce | None = None) -> dict[str, Tensor]:
        return first_order(*problem, reduce=reduce)
