"""Numbers that describe the cells of a genotype, as inputs of latency models.

What an operation costs on a device depends on what the device's compiler removes. An interpreter
such as PyTorch runs every operation. A compiler may remove operations whose output nothing reads,
or that only receive zeros. Each operation is therefore counted four times:

* ``count``: all edges;
* ``live``: edges from which a path leads to the output of the cell;
* ``fed``: edges to which a path leads from an input of the cell;
* ``used``: edges on a path from an input to the output.

A path consists of edges with operations other than ``none``, which outputs zeros. A regression
finds out which of the counts matter on a device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from darts.spaces import SPACES, AnyGenotype
from darts.spaces.genotype import NONE

# The features of a genotype by name; a missing name stands for 0.
Features: TypeAlias = dict[str, float]

Encoding: TypeAlias = Literal["operations", "graph", "edges", "places"]


@dataclass(frozen=True)
class Edge:
    """An edge of a cell, from state ``source`` to state ``target``."""

    source: int
    target: int
    operation: str
    live: bool  # whether a path leads from the target to the output of the cell
    fed: bool  # whether a path leads from an input of the cell to the source

    @property
    def used(self) -> bool:
        """Whether the edge is on a path from an input to the output."""
        return self.live and self.fed


def encode(genotype: AnyGenotype, encoding: Encoding) -> Features:
    """Return the features of a genotype of any space.

    ``operations``: the ``count`` of each operation. ``graph``: all four counts of each operation,
    sums, and longest paths. ``edges``: these, and which operation each place has. ``places``: the
    latter alone. A place is a pair of states.
    """
    features: Counter[str] = Counter()
    for cell in genotype.cells:
        edges = read_edges(genotype, cell)
        if encoding != "places":
            features.update(_counts(cell, edges, graph=encoding != "operations"))
        if encoding in ("graph", "edges"):
            features.update(_paths(cell, edges, genotype))
        if encoding in ("edges", "places"):
            features.update(f"place.{cell}.{e.source}>{e.target}.{e.operation}" for e in edges)
    return {name: float(value) for name, value in features.items()}


def read_edges(genotype: AnyGenotype, cell: str) -> list[Edge]:
    """Return the edges of a cell with their position in its graph."""
    edges = genotype.edges(cell)
    paths = [(source, target) for source, target, name in edges if name != NONE]
    fed = _reached(paths, set(range(genotype.inputs)))
    live = _reached([(target, source) for source, target in paths], set(genotype.concat(cell)))
    return [
        Edge(s, t, name, live=name != NONE and t in live, fed=name != NONE and s in fed)
        for s, t, name in edges
    ]


def is_connected(genotype: AnyGenotype) -> bool:
    """Return whether each cell has a path of operations from an input to its output.

    A cell whose paths all contain ``none`` outputs zeros.
    """
    for cell in genotype.cells:
        edges = read_edges(genotype, cell)
        if any(edge.operation == NONE for edge in edges) and not any(edge.used for edge in edges):
            return False
    return True


def _reached(pairs: Sequence[tuple[int, int]], start: set[int]) -> set[int]:
    reached = set(start)
    for _ in pairs:  # a path is at most this long
        reached |= {target for source, target in pairs if source in reached}
    return reached


def _counts(cell: str, edges: Sequence[Edge], *, graph: bool) -> Iterator[str]:
    for edge in edges:
        yield f"count.{cell}.{edge.operation}"
        for kind in ("live", "fed", "used") if graph else ():
            if getattr(edge, kind):
                yield f"{kind}.{cell}.{edge.operation}"


def _paths(cell: str, edges: Sequence[Edge], genotype: AnyGenotype) -> dict[str, int]:
    """Return the numbers of sums and the lengths of the longest paths of a cell.

    Devices that run branches in parallel take as long as the longest path.
    """
    space = SPACES[genotype.space]
    used = [edge for edge in edges if edge.used]
    lengths = {
        "operations": {e.operation for e in used} - {*space.skip_operations},
        "weights": {e.operation for e in used} - {*space.weightless_operations},
    }
    features = {
        f"longest.{cell}.{name}": _longest(used, counted, set(genotype.concat(cell)))
        for name, counted in lengths.items()
    }
    for kind, members in (
        ("count", [edge for edge in edges if edge.operation != NONE]),
        ("live", [edge for edge in edges if edge.live]),
        ("used", used),
    ):
        features[f"sums.{cell}.{kind}"] = len(members) - len({edge.target for edge in members})
    features[f"connected.{cell}"] = int(bool(used))
    return features


def _longest(edges: Sequence[Edge], counted: set[str], outputs: set[int]) -> int:
    lengths: Counter[int] = Counter()  # by state; 0 for the inputs
    # An edge starts at a lower state than it ends at, so this order visits its source first.
    for edge in sorted(edges, key=lambda edge: edge.target):
        length = lengths[edge.source] + (edge.operation in counted)
        lengths[edge.target] = max(lengths[edge.target], length)
    return max(lengths[state] for state in outputs)
