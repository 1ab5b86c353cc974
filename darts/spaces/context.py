"""The search context: what components know about a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.deriving import ByGroup
from darts.spaces.space import Space
from darts.spaces.supernet import SupernetBase


class GenotypeLimit(Protocol):
    """Hard limits of the genotypes that a search may return."""

    def restrict(self, probabilities: ByGroup) -> dict[str, Tensor]:
        """Return probabilities from which the space derives the best genotype within the limits."""

    def allows(self, genotype: AnyGenotype) -> bool:
        """Return whether a genotype is within all limits."""


@dataclass
class SearchContext:
    """Layout of the supernet and progress of the search.

    Attributes:
        candidates, edges, counts: See ``SupernetBase``.
        masks: By group, a mask ``(edges, operations)`` of the candidates that are still in the
            search; a missing group keeps all its candidates.
        epoch: Current epoch, counted from 0.
        epochs: Number of epochs of the search.
        limit: Hard limits that ``derive`` keeps; None without limits.
        budgets: Hard limits, one for each budget of a front that evolution fills.
        budget: The budget in [0, 1] that the alphas are for, in a search for a front; 1 is the
            largest one.
    """

    space: Space
    candidates: Mapping[str, tuple[tuple[str, ...], ...]]
    edges: Mapping[str, tuple[tuple[int, int], ...]]
    counts: Mapping[str, int]
    masks: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 1
    limit: GenotypeLimit | None = None
    budgets: Sequence[GenotypeLimit] = ()
    budget: float = 1.0

    @classmethod
    def from_supernet(cls, space: Space, net: SupernetBase) -> SearchContext:
        """Return the context of a search that has not started."""
        masks = space.initial_masks(net.candidates)
        return cls(space, net.candidates, net.edges, net.counts, masks)

    def derive(self, probabilities: ByGroup) -> AnyGenotype:
        """Return the best genotype within the limits; see ``Space.derive``."""
        return self.space.derive(self._limited(probabilities), self.candidates)

    def derived_mask(self, probabilities: ByGroup) -> dict[str, Tensor]:
        """Return which candidates the genotype of ``derive`` uses, as ``Space.mask`` does."""
        return self.space.derived_mask(self._limited(probabilities), self.candidates)

    def uniform(self) -> dict[str, Tensor]:
        """Return equal probabilities of all candidates in the masks, ``(edges, operations)``."""
        return {
            group: mask.double() / mask.sum(-1, keepdim=True).clamp_min(1)
            for group, mask in self.all_masks().items()
        }

    def all_masks(self) -> dict[str, Tensor]:
        """Return the masks of all groups; all True where none is set."""
        return {
            group: self.masks.get(group, torch.ones(len(rows), len(rows[0]), dtype=torch.bool))
            for group, rows in self.candidates.items()
        }

    def _limited(self, probabilities: ByGroup) -> ByGroup:
        return probabilities if self.limit is None else self.limit.restrict(probabilities)

    @contextmanager
    def changed(
        self, *, masks: dict[str, Tensor] | None = None, budget: float | None = None
    ) -> Iterator[None]:
        """Use other masks or another budget for the duration of a ``with`` block."""
        before = self.masks, self.budget
        self.masks = self.masks if masks is None else masks
        self.budget = self.budget if budget is None else budget
        try:
            yield
        finally:
            self.masks, self.budget = before

    @property
    def progress(self) -> float:
        """Finished share of the search at the start of the epoch, in [0, 1)."""
        return self.epoch / self.epochs

    @property
    def schedule_position(self) -> float:
        """Position in a schedule over all epochs: 0 in the first epoch, 1 in the last one."""
        return self.epoch / max(self.epochs - 1, 1)

    @property
    def targets(self) -> dict[str, tuple[int, ...]]:
        """By group, the target node of each edge."""
        return {group: tuple(target for _, target in pairs) for group, pairs in self.edges.items()}
