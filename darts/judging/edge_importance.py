"""Edge importance: how much the score of a trained network drops without an edge.

An edge of a cell, for example of ``normal``, is removed from all copies of the cell in the network:
its operation outputs zeros. Everything else, including the running statistics of batch norm, stays
as trained. An operation that adds its result to its input, for example a residual block, then
outputs its input.

The importance measures what this trained network relies on. It does not say which architecture is
better: a network trained without the edge would have adapted. If two edges can replace each other,
both may have a low importance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypedDict

import msgspec
import torch
from torch import Tensor, nn

from darts.spaces import NetworkBase
from darts.typed_values import Count, Name, Number

Edge = tuple[str, int]  # name of a cell, and index of an edge in ``genotype.edges(cell)``


class EdgeDrop(TypedDict):
    """Score drop without the edge from ``source`` to ``target``, numbered as in the genotype.

    ``score_drop`` is None if the edge cannot be removed because no other path bypasses it.
    """

    source: Count
    target: Count
    operation: Name
    score_drop: Number | None


class EdgeImportances(TypedDict):
    """Score drops of all edges. A positive drop means that the score is worse without the edge."""

    score: Number  # of the whole network
    edges: dict[str, list[EdgeDrop]]  # by name of the cell, in the order of ``genotype.edges``
    # By operation, the score drop without all removable edges that have it; empty without any.
    operations: Annotated[dict[Name, Number], msgspec.Meta(max_length=1000)]


class ImportanceFile(EdgeImportances):
    """Content of ``importance.json``."""

    metric: Name
    split: Name
    samples: Annotated[int, msgspec.Meta(ge=1)]


class ZeroOutput(nn.Module):
    """Replacement of an operation; outputs zeros of the shapes of the operation's outputs."""

    def __init__(self, operation: nn.Module) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = self.operation(*inputs)
        if isinstance(outputs, Tensor):
            return torch.zeros_like(outputs)
        return tuple(torch.zeros_like(output) for output in outputs)


@contextmanager
def without_edges(net: NetworkBase, edges: Iterable[Edge]) -> Iterator[None]:
    """Replace the outputs of some removable edges by zeros inside a ``with`` block."""
    attributes = [
        (module, name, getattr(module, name))
        for cell, index in edges
        for module, name in net.edge_modules(cell, index) or ()
    ]
    try:
        for module, name, operation in attributes:
            setattr(module, name, ZeroOutput(operation))
        yield
    finally:
        for module, name, operation in attributes:
            setattr(module, name, operation)


def has_removable_edges(net: NetworkBase) -> bool:
    """Return whether the genotype has an edge that is an operation of the network."""
    return any(
        net.edge_modules(cell, index) is not None
        for cell in net.genotype.cells
        for index in range(len(net.genotype.edges(cell)))
    )


def edge_importances(
    net: NetworkBase, score: Callable[[], float], *, higher_is_better: bool = True
) -> EdgeImportances:
    """Measure the score drop of a trained network without each edge and without each operation.

    ``score`` evaluates ``net`` as it is when called, always on the same data. Drops have the unit
    of the score.
    """
    baseline = score()

    def drop(edges: Iterable[Edge]) -> float:
        with without_edges(net, edges):
            reduced = score()
        return baseline - reduced if higher_is_better else reduced - baseline

    drops: dict[str, list[EdgeDrop]] = {}
    removable: dict[str, list[Edge]] = {}
    for cell in net.genotype.cells:
        drops[cell] = []
        for index, (source, target, operation) in enumerate(net.genotype.edges(cell)):
            score_drop = None
            if net.edge_modules(cell, index) is not None:
                score_drop = drop([(cell, index)])
                removable.setdefault(operation, []).append((cell, index))
            drops[cell].append(
                EdgeDrop(source=source, target=target, operation=operation, score_drop=score_drop)
            )
    return {
        "score": baseline,
        "edges": drops,
        "operations": {operation: drop(edges) for operation, edges in removable.items()},
    }
