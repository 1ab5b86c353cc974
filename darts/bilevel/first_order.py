"""The first-order gradient of the alphas.

References:
    DARTS, arXiv:1806.09055, section 2.3: equation 7 with xi = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.functional import BatchT, FunctionalLoss, LossFunction, Net, Reduce, gradients


def first_order(
    net: Net,
    loss_fn: LossFunction[Net, BatchT],
    train_batch: BatchT,
    valid_batch: BatchT,
    optimizer: Optimizer,
    *,
    reduce: Reduce | None = None,
) -> dict[str, Tensor]:
    """Compute the gradient of the validation loss with respect to the alphas.

    The weights enter as constants, so that no weight gradients are computed.

    Args:
        net: supernet with ``alphas`` and ``weight_parameters()``; not changed.
        loss_fn: scalar loss of a network and a batch.
        train_batch: unused; all gradients have the same signature.
        valid_batch: batch whose loss is differentiated.
        optimizer: unused.
        reduce: sums tensors over the ranks of a distributed run. The loss of each rank must be its
            share of the loss of the whole batch.

    Returns:
        ``{name: gradient}`` with the shapes of ``net.alphas``. Groups without a cell in the
        supernet have a zero gradient.
    """
    loss = FunctionalLoss(net, loss_fn)
    value = loss.at([weight.detach() for weight in loss.weights], loss.alphas, valid_batch)
    alpha_gradients = gradients(value, loss.alphas)
    return loss.by_group(reduce(alpha_gradients) if reduce else alpha_gradients)


@GRADIENTS.register
@dataclass
class FirstOrder(ArchGradient):
    """The gradient at the current weights."""

    name: str = "first_order"

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
        return first_order(net, loss_fn, train_batch, valid_batch, optimizer, reduce=reduce)
