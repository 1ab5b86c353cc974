"""Single-level optimization: weights and alphas minimize the same training loss.

References:
    Xie et al., "SNAS", arXiv:1812.09926, section 2.2: weights and alphas share one objective.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.first_order import first_order
from darts.bilevel.functional import BatchT, LossFunction, Net, Reduce


@GRADIENTS.register
@dataclass
class SingleLevel(ArchGradient):
    """The gradient of the training loss; the validation batch is not used."""

    name: str = "single_level"

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
        return first_order(net, loss_fn, train_batch, train_batch, optimizer, reduce=reduce)
