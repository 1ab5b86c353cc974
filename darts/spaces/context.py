"""The search context: what components know about a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from darts.spaces.space import Space
from darts.spaces.supernet import SupernetBase


@dataclass
class SearchContext:
    """Layout of the supernet and progress of the search.

    Attributes:
        space: The space that is searched.
        candidates: By group and edge, the names of the candidates, one per column of the alphas.
        edges: By group, source and target of each edge.
        counts: By group, the number of cells that share its alphas.
        masks: By group, a mask ``(edges, operations)`` of the candidates that are still in the
            search; a missing group keeps all its candidates.
        epoch: Current epoch, counted from 0.
        epochs: Epochs of the whole search.
    """

    space: Space
    candidates: Mapping[str, tuple[tuple[str, ...], ...]]
    edges: Mapping[str, tuple[tuple[int, int], ...]]
    counts: Mapping[str, int]
    masks: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 1

    @classmethod
    def from_supernet(cls, space: Space, net: SupernetBase) -> SearchContext:
        """Return the context of a search that has not started."""
        masks = space.initial_masks(net.candidates)
        return cls(space, net.candidates, net.edges, net.counts, masks)

    @contextmanager
    def masked(self, masks: Mapping[str, Tensor]) -> Iterator[None]:
        """Replace the masks of some groups for the duration of a ``with`` block."""
        before = dict(self.masks)
        self.masks.update(masks)
        try:
            yield
        finally:
            self.masks.clear()
            self.masks.update(before)

    @property
    def progress(self) -> float:
        """Finished share of the search at the start of the epoch, in [0, 1)."""
        return self.epoch / self.epochs

    @property
    def schedule(self) -> float:
        """Position in a schedule over all epochs: 0 in the first epoch, 1 in the last one."""
        return self.epoch / max(self.epochs - 1, 1)

    @property
    def targets(self) -> dict[str, tuple[int, ...]]:
        """By group, the target node of each edge."""
        return {group: tuple(target for _, target in pairs) for group, pairs in self.edges.items()}
