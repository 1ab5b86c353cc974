"""Frozen alphas, for searches that do not update them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.functional import BatchT, LossFunction, Net, Reduce


@GRADIENTS.register
@dataclass
class Frozen(ArchGradient):
    """The search takes no architecture steps; the gradient is zero."""

    name: str = "frozen"
    updates_alphas: ClassVar[bool] = False

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
        return {name: torch.zeros_like(alpha) for name, alpha in net.alphas.items()}
