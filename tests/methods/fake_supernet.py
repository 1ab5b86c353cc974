"""A searched supernet without a network, whose score is a known function of its masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tiny_search import context_and_supernet
from torch import Tensor

from darts.spaces import AnyGenotype, SearchContext

Masks = dict[str, Tensor]


class Interrupted(Exception):
    """The process ends after a save."""


class FakeSupernet:
    """An implementation of ``darts.methods.discretization.SearchedSupernet``.

    ``value`` is the score of masks. Interrupts come after a number of saves, or at a number of the
    calls of ``save_if_due``.
    """

    def __init__(
        self,
        space: str,
        value: Callable[[Masks], float],
        *,
        interrupt_after_saves: int | None = None,
        interrupt_at: int | None = None,
    ) -> None:
        self.context: SearchContext = context_and_supernet(space)[0]
        self.state: dict[str, Any] = {}
        self.value = value
        self.interrupt_after_saves, self.interrupt_at = interrupt_after_saves, interrupt_at
        self.num_saves_if_due = 0
        self.log: list[Any] = []

    def probabilities(self) -> Masks:
        """Return equal probabilities for all operations inside the masks."""
        return self.context.uniform()

    def score(self, batches: int = 0, only: Masks | None = None) -> float:
        self.log.append(batches)
        return self.value(self.context.all_masks() | (only or {}))

    def score_path(self, genotype: AnyGenotype, batches: int = 0) -> float:
        self.log.append(batches)
        return self.value(self.context.space.mask(genotype, self.context.candidates))

    def train(self, epochs: int, lr: float) -> None:
        self.log.append(("train", epochs, lr))

    def save(self) -> None:
        self.log.append("save")
        if self.log.count("save") == self.interrupt_after_saves:
            raise Interrupted

    def save_if_due(self) -> None:
        self.num_saves_if_due += 1
        if self.num_saves_if_due == self.interrupt_at:
            raise Interrupted

    def info(self, text: str) -> None:
        pass


def additive(values: Masks) -> Callable[[Masks], float]:
    """Return a score that is the sum of the values of the operations inside the masks."""
    return lambda masks: float(sum((values[group] * mask).sum() for group, mask in masks.items()))


def random_values(space: str, seed: int) -> Masks:
    """Return a random value for each operation of each edge."""
    generator = torch.Generator().manual_seed(seed)
    return {
        group: torch.rand(len(rows), len(rows[0]), generator=generator, dtype=torch.float64)
        for group, rows in context_and_supernet(space)[0].candidates.items()
    }
