"""Alphas that stay where they are, for searches that do not go by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient


@GRADIENTS.register
@dataclass
class Frozen(ArchGradient):
    """No step of the alphas is taken."""

    name: str = "frozen"
    moves_alphas: ClassVar[bool] = False
