"""What the parts of a method have to know beside the alphas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class SearchContext:
    """The supernet's layout, and how far the search has come.

    Attributes:
        space: the space searched, see ``darts.spaces.space``.
        candidates: by group of alphas and edge, the names of the columns.
        edges: by group, each edge's source and target.
        counts: by group, how many cells there are.
        kept: by group a mask ``(edges, operations)`` of the candidates still in the search; groups
            that are missing keep all.
        progress: share of the search that is over when the epoch begins, in [0, 1).
    """

    space: Any
    candidates: Mapping[str, tuple[tuple[str, ...], ...]]
    edges: Mapping[str, tuple[tuple[int, int], ...]]
    counts: Mapping[str, int]
    kept: dict[str, Tensor] = field(default_factory=dict)
    progress: float = 0.0

    @classmethod
    def of(cls, space: Any, net: Any) -> SearchContext:
        """The context of a supernet at the start."""
        return cls(space, net.candidates, net.edges, net.counts)

    @contextmanager
    def keeping(self, masks: Mapping[str, Tensor]) -> Iterator[None]:
        """Within it, the groups named keep what these masks ``(edges, operations)`` say."""
        before = dict(self.kept)
        self.kept.update(masks)
        try:
            yield
        finally:
            self.kept.clear()
            self.kept.update(before)

    @property
    def targets(self) -> dict[str, tuple[int, ...]]:
        """By group, the node that each edge enters."""
        return {group: tuple(target for _, target in pairs) for group, pairs in self.edges.items()}
