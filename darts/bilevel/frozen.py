"""Alphas that stay where they are, for searches that do not go by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.functional import Reduce


@GRADIENTS.register
@dataclass
class Frozen(ArchGradient):
    """No step of the alphas is taken."""

    name: str = "frozen"
    updates_alphas: ClassVar[bool] = False

    def __call__(self, *problem: Any, reduce: Reduce | None = None) -> dict[str, Tensor]:
        return {name: torch.zeros_like(alpha) for name, alpha in problem[0].alphas.items()}
