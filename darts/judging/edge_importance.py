"""How much a trained network lives by each of its edges: what its score loses without it.

An edge is taken out of all cells of its kind: its operation puts out zeros, and all else, batch
norm with its running statistics included, stays as it was trained. Where an operation adds to its
own input, as the blocks of a chain do, the input is passed on. A network trained without the
edge would have learnt to do without, so this tells what this network relies on, and not which
architecture would be better. Edges that stand in for each other may each look unimportant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Edge = tuple[str, int]
"""The name of a kind of cell, and the number of an edge in ``genotype.edges`` of it."""


class Removed(nn.Module):
    """Zeros in the place of what an operation puts out."""

    def __init__(self, operation: nn.Module) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *given: Any) -> Tensor:
        """Zeros of the operation's shape."""
        return torch.zeros_like(self.operation(*given))


def has_edges(net: Any) -> bool:
    """Whether a network has edges that can be taken out."""
    if not hasattr(net, "carriers"):
        return False
    cells = {cell: net.genotype.edges(cell) for cell in net.genotype.cells}
    return any(
        net.carriers(cell, number) is not None
        for cell, edges in cells.items()
        for number in range(len(edges))
    )


@contextmanager
def without(net: Any, edges: Iterable[Edge]) -> Iterator[None]:
    """Within it, the operations of these edges put out zeros; then all is as before."""
    places = [place for cell, edge in edges for place in net.carriers(cell, edge)]
    operations = [getattr(module, name) for module, name in places]
    try:
        for (module, name), operation in zip(places, operations, strict=True):
            setattr(module, name, Removed(operation))
        yield
    finally:
        for (module, name), operation in zip(places, operations, strict=True):
            setattr(module, name, operation)


def importances(
    net: Any, genotype: Any, score: Callable[[], float], *, higher_is_better: bool = True
) -> dict[str, Any]:
    """What the score loses without each edge, and without each kind of operation.

    Args:
        net: a discrete network of a space whose networks have ``carriers``.
        genotype: its own.
        score: scores ``net`` as it is, always on the same data.
        higher_is_better: of the score.

    Returns:
        ``score`` of the whole network; ``edges``, by kind of cell a list of ``source``, ``target``,
        ``operation`` and ``lost``, in the order of ``genotype.edges``; and ``operations``, by name
        what is lost without all edges that carry it. Positive is worse without. ``lost`` is None
        for an edge that cannot be taken out, since nothing goes around it; it counts for no
        operation either.
    """
    whole = score()

    def lost(edges: Iterable[Edge]) -> float:
        with without(net, edges):
            rest = score()
        return whole - rest if higher_is_better else rest - whole

    edges: dict[str, list[dict[str, Any]]] = {}
    carrying: dict[str, list[Edge]] = {}
    for cell in genotype.cells:
        edges[cell] = []
        for number, (source, target, operation) in enumerate(genotype.edges(cell)):
            named = {"source": source, "target": target, "operation": operation}
            removable = net.carriers(cell, number) is not None
            edges[cell].append({**named, "lost": lost([(cell, number)]) if removable else None})
            if removable:
                carrying.setdefault(operation, []).append((cell, number))
    return {
        "score": whole,
        "edges": edges,
        "operations": {operation: lost(own) for operation, own in carrying.items()},
    }
