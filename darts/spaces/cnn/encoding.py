"""Encoding of cell genotypes as points, and uniform sampling.

Each node has a parameter for the pair of states that it reads. Each edge has a parameter for its
operation, which is active if the pair contains the edge. So each genotype is exactly one point.

References:
    DARTS, arXiv:1806.09055, section 3.2, and "Random Search and Reproducibility for NAS",
    arXiv:1902.07638: random search over uniformly sampled cells as a baseline.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch

from darts.spaces.checks import check_positive
from darts.spaces.deriving import Candidates
from darts.spaces.genotype import OPERATIONS, PRIMITIVES, Genotype
from darts.spaces.parameters import Choice, Parameter, Point, Value

SEARCHED: tuple[str, ...] = tuple(name for name in PRIMITIVES if name != "none")
"""The primitives that a discrete cell may have."""


def random_genotype(
    generator: torch.Generator, nodes: int = 4, operations: Sequence[str] | Candidates = SEARCHED
) -> Genotype:
    """Draw both cells uniformly: two distinct sources per node and an operation for each.

    Args:
        generator: source of the random numbers; equal states give equal genotypes.
        nodes: intermediate nodes of each cell; all of them are concatenated.
        operations: names to draw from with equal probabilities; or by cell, the candidates of each
            edge, except ``none``.

    Raises:
        ValueError: fewer than one node, or no, unknown or repeated operations.
    """
    check_positive(nodes=nodes)
    if not isinstance(operations, Mapping):
        _check(operations)

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    def draw_cell(cell: str) -> tuple[tuple[str, int], ...]:
        pairs: list[tuple[str, int]] = []
        for node in range(nodes):
            order = torch.randperm(node + 2, generator=generator, device=generator.device)
            for source in sorted(order[:2].tolist()):
                names = operations
                if isinstance(operations, Mapping):
                    row = operations[cell][node * (node + 3) // 2 + source]
                    names = [name for name in row if name != "none"]
                pairs.append((cast(Sequence[str], names)[draw(len(names))], source))
        return tuple(pairs)

    concat = tuple(range(2, nodes + 2))
    return Genotype(draw_cell("normal"), concat, draw_cell("reduce"), concat)


def parameters(candidates: Candidates) -> list[Parameter]:
    """Return the parameters of both cells.

    Args:
        candidates: by cell, the operations of each edge, ordered by node, then source.
    """
    parameters: list[Parameter] = []
    for cell, rows in candidates.items():
        for node, edges in enumerate(_by_node(rows), 2):
            usable = [source for source, row in enumerate(edges) if _without_none(row)]
            pairs = tuple(f"{a}+{b}" for a, b in itertools.combinations(usable, 2))
            inputs = f"{cell}.{node}"
            parameters.append(Parameter(inputs, Choice(pairs)))
            for source in usable:
                with_edge = tuple(pair for pair in pairs if str(source) in pair.split("+"))
                condition = (inputs, with_edge)
                domain = Choice(_without_none(edges[source]))
                parameters.append(Parameter(f"{cell}.{source}>{node}", domain, (condition,)))
    return parameters


def encode(genotype: Genotype, candidates: Candidates) -> Point:
    """Return the point of a genotype.

    Raises:
        ValueError: the space does not contain its nodes, sources, operations or concatenation.
    """
    point: Point = {}
    for cell, rows in candidates.items():
        nodes = list(_by_node(rows))
        states = tuple(range(2, len(nodes) + 2))
        if genotype.nodes(cell) != len(nodes) or tuple(sorted(genotype.concat(cell))) != states:
            raise ValueError(
                f"the {cell} cell must have {len(nodes)} nodes and concatenate all of them"
            )
        edges = genotype.edges(cell)
        for node in states:
            own = sorted((source, name) for source, target, name in edges if target == node)
            (a, first), (b, second) = own
            if a == b:
                raise ValueError(f"node {node} of the {cell} cell reads state {a} twice")
            point[f"{cell}.{node}"] = f"{a}+{b}"
            for source, name in ((a, first), (b, second)):
                row = _without_none(nodes[node - 2][source])
                if name not in row:
                    raise ValueError(
                        f"{name} is no candidate of the edge from {source} to {node} of the {cell} "
                        f"cell; its candidates are {', '.join(row) or 'none'}"
                    )
                point[f"{cell}.{source}>{node}"] = name
    return point


def decode(point: Mapping[str, Value], candidates: Candidates) -> Genotype:
    """Return the genotype of a point; the inverse of ``encode``."""
    cells: list[tuple[tuple[str, int], ...]] = []
    for cell in Genotype.cells:
        pairs: list[tuple[str, int]] = []
        for node, _ in enumerate(_by_node(candidates[cell]), 2):
            for source in str(point[f"{cell}.{node}"]).split("+"):
                pairs.append((str(point[f"{cell}.{source}>{node}"]), int(source)))
        cells.append(tuple(pairs))
    normal, reduce = cells
    concat = tuple(range(2, len(normal) // 2 + 2))
    return Genotype(normal, concat, reduce, concat)


def _by_node(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[Sequence[str]]]:
    """Yield the edges into each node."""
    start, count = 0, 2
    while start < len(rows):
        yield rows[start : start + count]
        start, count = start + count, count + 1


def _without_none(row: Sequence[str]) -> tuple[str, ...]:
    """Return the candidates of an edge that a discrete cell may have."""
    return tuple(name for name in row if name != "none")


def _check(operations: Sequence[str]) -> None:
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or not operations or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be one or more distinct names of {', '.join(OPERATIONS)}, "
            f"not {list(operations)!r}"
        )
