"""A trained supernet whose score is a known function of what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tiny_search import context_and_supernet
from torch import Tensor

from darts.methods.discretization import Discretization
from darts.spaces.context import SearchContext

Masks = dict[str, Tensor]


class Interrupted(Exception):
    """Stands for a process that ends after it has saved."""


class MadeUp:
    """What ``darts.methods.discretization.SearchedSupernet`` asks for, without a network.

    Args:
        space: name of the space.
        value: score of masks, by group ``(edges, operations)``.
        stop: raise ``Interrupted`` after so many saves.
        leave: raise it at the save_if_due of that number.
    """

    def __init__(
        self,
        space: str,
        value: Callable[[Masks], float],
        *,
        stop: int | None = None,
        leave: int | None = None,
    ) -> None:
        self.context: SearchContext = context_and_supernet(space)[0]
        self.state: dict[str, Any] = {}
        self.value, self.stop, self.leave = value, stop, leave
        self.pauses = 0
        self.log: list[Any] = []  # batches of scores, ("train", epochs, lr), "save"

    def masks(self) -> Masks:
        return {
            group: self.context.masks.get(
                group, torch.ones(len(rows), len(rows[0]), dtype=torch.bool)
            )
            for group, rows in self.context.candidates.items()
        }

    def probabilities(self) -> Masks:
        """Equal probabilities of what is kept."""
        return {
            group: mask / mask.sum(1, keepdim=True).clamp_min(1)
            for group, mask in self.masks().items()
        }

    def score(self, batches: int = 0, only: Masks | None = None) -> float:
        self.log.append(batches)
        return self.value(self.masks() | (only or {}))

    def train(self, epochs: int, lr: float) -> None:
        self.log.append(("train", epochs, lr))

    def save(self) -> None:
        self.log.append("save")
        if self.stop is not None and self.log.count("save") == self.stop:
            raise Interrupted

    def save_if_due(self) -> None:
        self.pauses += 1
        if self.pauses == self.leave:
            raise Interrupted

    def info(self, text: str) -> None:
        pass


def worths(space: str, seed: int) -> Masks:
    """A random worth for each operation of each edge."""
    draw = torch.Generator().manual_seed(seed)
    return {
        group: torch.rand(len(rows), len(rows[0]), generator=draw, dtype=torch.float64)
        for group, rows in context_and_supernet(space)[0].candidates.items()
    }


def done_by(rule: Discretization, trained: MadeUp, all_batches: int) -> tuple[int, int]:
    """Batches scored and epochs trained by a rule that ends; a score on all has so many."""
    rule.final_genotype(trained)
    batches = sum(entry or all_batches for entry in trained.log if isinstance(entry, int))
    epochs = sum(entry[1] for entry in trained.log if isinstance(entry, tuple))
    return batches, epochs


def told_by(rule: Discretization, context: SearchContext, all_batches: int) -> tuple[int, int]:
    """The same, as the rule says before it begins."""
    works = rule.estimate_work(context)
    assert works is not None
    batches = sum(work.scores * (work.batches or all_batches) for work in works)
    return batches, sum(work.epochs for work in works)
