"""Architectures of the cell-based space as points, and drawing one at random.

A node has a parameter for the pair of states that it takes in, and each edge one for its operation,
which is active where the pair has the edge. So each genotype is one point.

References:
    The uniform distribution over cells is the random-search baseline of DARTS, arXiv:1806.09055,
    section 3.2, and of "Random Search and Reproducibility for NAS", arXiv:1902.07638.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch

from darts.spaces.genotype import OPERATIONS, PRIMITIVES, Genotype
from darts.spaces.parameters import Choice, Parameter, Point, Value

Rows = Mapping[str, Sequence[Sequence[str]]]

SEARCHED: tuple[str, ...] = tuple(name for name in PRIMITIVES if name != "none")
"""The primitives that a discrete cell may carry."""


def random_genotype(
    generator: torch.Generator,
    nodes: int = 4,
    operations: Sequence[str] | Mapping[str, Sequence[Sequence[str]]] = SEARCHED,
) -> Genotype:
    """Draw both cells uniformly: two distinct sources a node, an operation for each.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
        nodes: intermediate nodes of each cell; all of them are concatenated.
        operations: names to draw from, each with the same probability; or by cell the candidates
            of each edge, of which ``none`` is never drawn.

    Raises:
        ValueError: fewer than one node, or no, unknown or repeated operations.
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        raise ValueError(f"nodes must be a whole number of at least 1, not {nodes!r}")
    if not isinstance(operations, Mapping):
        _check(operations)

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    def draw_cell(cell: str) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        for node in range(nodes):
            order = torch.randperm(node + 2, generator=generator, device=generator.device)
            for source in sorted(order[:2].tolist()):
                names = operations
                if isinstance(operations, Mapping):
                    row = operations[cell][node * (node + 3) // 2 + source]
                    names = [name for name in row if name != "none"]
                found.append((cast(Sequence[str], names)[draw(len(names))], source))
        return tuple(found)

    concat = tuple(range(2, nodes + 2))
    return Genotype(draw_cell("normal"), concat, draw_cell("reduce"), concat)


def parameters(candidates: Rows) -> list[Parameter]:
    """The parameters of both cells.

    Args:
        candidates: by cell the operations of each edge, node by node and source by source.
    """
    found: list[Parameter] = []
    for cell, rows in candidates.items():
        for node, edges in enumerate(_by_node(rows), 2):
            usable = [source for source, row in enumerate(edges) if _chosen(row)]
            pairs = tuple(f"{a}+{b}" for a, b in itertools.combinations(usable, 2))
            inputs = f"{cell}.{node}"
            found.append(Parameter(inputs, Choice(pairs)))
            for source in usable:
                having = tuple(pair for pair in pairs if str(source) in pair.split("+"))
                domain = Choice(_chosen(edges[source]))
                found.append(Parameter(f"{cell}.{source}>{node}", domain, ((inputs, having),)))
    return found


def encode(genotype: Genotype, candidates: Rows) -> Point:
    """The genotype as a point of ``parameters``.

    Raises:
        ValueError: when it is none of the space's: nodes, sources, operations or concatenation.
    """
    point: Point = {}
    for cell, rows in candidates.items():
        nodes = list(_by_node(rows))
        whole = tuple(range(2, len(nodes) + 2))
        if genotype.nodes(cell) != len(nodes) or tuple(sorted(genotype.concat(cell))) != whole:
            raise ValueError(
                f"the {cell} cell must have {len(nodes)} nodes and put out all of them"
            )
        edges = genotype.edges(cell)
        for node in whole:
            own = sorted((source, name) for source, target, name in edges if target == node)
            (a, first), (b, second) = own
            if a == b:
                raise ValueError(f"node {node} of the {cell} cell takes state {a} in twice")
            point[f"{cell}.{node}"] = f"{a}+{b}"
            for source, name in ((a, first), (b, second)):
                row = _chosen(nodes[node - 2][source])
                if name not in row:
                    raise ValueError(
                        f"{name} is none of the candidates on the edge from {source} to {node} of "
                        f"the {cell} cell; those are {', '.join(row) or 'none'}"
                    )
                point[f"{cell}.{source}>{node}"] = name
    return point


def decode(point: Mapping[str, Value], candidates: Rows) -> Genotype:
    """The genotype that ``encode`` makes this point of."""
    cells: list[tuple[tuple[str, int], ...]] = []
    for cell in Genotype.cells:
        found: list[tuple[str, int]] = []
        for node, _ in enumerate(_by_node(candidates[cell]), 2):
            for source in str(point[f"{cell}.{node}"]).split("+"):
                found.append((str(point[f"{cell}.{source}>{node}"]), int(source)))
        cells.append(tuple(found))
    normal, reduce = cells
    concat = tuple(range(2, len(normal) // 2 + 2))
    return Genotype(normal, concat, reduce, concat)


def _by_node(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[Sequence[str]]]:
    """The edges into each node."""
    start, count = 0, 2
    while start < len(rows):
        yield rows[start : start + count]
        start, count = start + count, count + 1


def _chosen(row: Sequence[str]) -> tuple[str, ...]:
    """What a discrete cell may have of an edge's candidates."""
    return tuple(name for name in row if name != "none")


def _check(operations: Sequence[str]) -> None:
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or not operations or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be one or more distinct names of {', '.join(OPERATIONS)}, "
            f"not {list(operations)!r}"
        )
