"""Cell genotypes: derivation from probabilities, random sampling, and conversion to points.

In a point, each node has a parameter for the pair of states that it reads. Each edge has a
parameter for its operation, which is active if the pair contains the edge's source. So each
genotype is exactly one point.

References:
    DARTS, arXiv:1806.09055, section 2.4 (derivation) and section 3.2. "Random Search and
    Reproducibility for NAS", arXiv:1902.07638: uniformly sampled cells as a baseline.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from darts.spaces.cnn.candidates import Operations, candidates_of
from darts.spaces.cnn.skeleton import count_nodes
from darts.spaces.deriving import Candidates, check_groups, checked_rows, draw, first_argmax
from darts.spaces.genotype import CELLS, PRIMITIVES, Genotype
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.sparse import all_edges, drop_edges

T = TypeVar("T")


EDGE_RULES = ("pairs", "all")
"""Rules of ``derive`` in addition to the one of DARTS."""


def derive(
    probabilities: Mapping[str, Tensor], candidates: Candidates | None = None, rule: str = "two"
) -> Genotype:
    """Keep the two strongest edges into each node and the strongest operation of each.

    The strength of an edge is the probability of its most probable operation other than ``none``.
    ``none`` takes part in the softmax, so edges must be ranked by probability: the edge with the
    largest alpha need not be the edge with the largest probability.

    Args:
        probabilities: For ``"normal"`` and ``"reduce"``, a tensor ``(edges, operations)`` of
            probabilities (after the softmax, not the alphas), on any device. Edges are ordered by
            node, then by source: 14 rows for 4 nodes.
        rule: "two": as above. "pairs": the two strongest operations of all edges into a node, which
            may be on one edge (the later code of GDAS). "all": the strongest operation of every
            edge, ``none`` included (the code of SNAS).

    Returns:
        A genotype that concatenates all nodes; the stronger edge of a node comes first, except with
        the rule "all". Ties go to the lower index, for edges and for operations.
    """
    check_groups("probabilities", probabilities, CELLS)
    return _genotype(
        {
            cell: _derive_cell(
                cell,
                probabilities[cell],
                candidates[cell] if candidates else [PRIMITIVES] * len(probabilities[cell]),
                rule,
            )
            for cell in CELLS
        },
        {cell: count_nodes(len(probabilities[cell])) for cell in CELLS},
    )


def _derive_cell(
    cell: str, table: Tensor, names: Sequence[Sequence[str]], rule: str
) -> list[tuple[str, int]]:
    """Return ``(operation, source)`` of each kept edge of one cell."""
    rows = checked_rows(cell, table, (len(names), len(names[0])))
    kept: list[tuple[str, int]] = []
    for node in _by_node(list(zip(names, rows, strict=True))):
        if rule == "all":
            kept += [(row[first_argmax(p)], source) for source, (row, p) in enumerate(node)]
            continue
        if rule == "pairs":
            pairs = [
                (-value, source, name)
                for source, (row, p) in enumerate(node)
                for name, value in zip(row, p, strict=True)
                if name != "none"
            ]
            strongest = sorted(pairs, key=lambda pair: pair[0])[:2]  # keeps the order of ties
            kept += [(name, source) for _, source, name in strongest]
            continue
        # max() and sorted() both keep the first of equal elements.
        best = [
            max((c for c, n in enumerate(row) if n != "none"), key=p.__getitem__) for row, p in node
        ]
        ranked = sorted(range(len(node)), key=lambda source: -node[source][1][best[source]])
        kept += [(node[source][0][best[source]], source) for source in ranked[:2]]
    return kept


def without_improbable_edges(
    genotype: Genotype,
    probabilities: Mapping[str, Tensor],
    candidates: Candidates,
    threshold: float,
) -> Genotype:
    """Return the genotype without the edges whose operation is less probable than a threshold.

    If no edge of a cell remains, the cell keeps the most probable edge of the genotype that leaves
    an input of the cell. See ``derive`` for ``probabilities`` and ``candidates``.
    """
    cells: list[tuple[tuple[tuple[str, int], ...], tuple[int, ...]]] = []
    for cell in CELLS:
        rows = {pair: row for row, pair in enumerate(all_edges(count_nodes(len(candidates[cell]))))}
        table = probabilities[cell].tolist()
        values = []
        for source, target, name in genotype.edges(cell):
            row = rows[source, target]
            values.append(table[row][candidates[cell][row].index(name)])
        pairs, concat = getattr(genotype, cell), genotype.concat(cell)
        from_inputs = [index for index, (_, source) in enumerate(pairs) if source < 2]
        best = max(from_inputs, key=values.__getitem__)
        sparse = drop_edges(pairs, concat, [value >= threshold for value in values])
        if not sparse[1]:
            sparse = drop_edges(pairs, concat, [index == best for index in range(len(pairs))])
        cells.append(sparse)
    return Genotype(*cells[0], *cells[1])


def random_genotype(
    generator: torch.Generator, nodes: int = 4, operations: Operations = PRIMITIVES
) -> Genotype:
    """Draw both cells uniformly: two distinct sources per node and an operation for each.

    All nodes are concatenated, and ``none`` is never drawn.
    """
    candidates = candidates_of(operations, nodes)

    def draw_cell(rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, int]]:
        for edges in _by_node(rows):
            order = torch.randperm(len(edges), generator=generator, device=generator.device)
            for source in sorted(order[:2].tolist()):
                yield draw(generator, _without_none(edges[source])), source

    return _genotype({cell: list(draw_cell(candidates[cell])) for cell in CELLS})


def parameters(candidates: Candidates) -> list[Parameter]:
    """Return the parameters of both cells for the candidates of each edge."""
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
    """Return the point of a genotype; raise ValueError if the space does not contain it."""
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
            if len(own) != 2:
                raise ValueError(
                    f"node {node} of the {cell} cell has {len(own)} edges; the points of space=cnn "
                    "describe cells with two edges per node"
                )
            (a, first), (b, second) = own
            if a == b:
                raise ValueError(f"node {node} of the {cell} cell reads state {a} twice")
            point[f"{cell}.{node}"] = f"{a}+{b}"
            for source, name in ((a, first), (b, second)):
                row = _without_none(nodes[node - 2][source])
                if name not in row:
                    raise ValueError(
                        f"{name} is not a candidate of the edge from {source} to {node} of the "
                        f"{cell} cell; its candidates are {', '.join(row) or 'none'}"
                    )
                point[f"{cell}.{source}>{node}"] = name
    return point


def decode(point: Mapping[str, Value], candidates: Candidates) -> Genotype:
    """Return the genotype of a point; the inverse of ``encode``."""
    cells: dict[str, list[tuple[str, int]]] = {}
    for cell, rows in candidates.items():
        cells[cell] = [
            (str(point[f"{cell}.{source}>{node}"]), int(source))
            for node, _ in enumerate(_by_node(rows), 2)
            for source in str(point[f"{cell}.{node}"]).split("+")
        ]
    return _genotype(cells)


def _genotype(
    cells: Mapping[str, Sequence[tuple[str, int]]], nodes: Mapping[str, int] | None = None
) -> Genotype:
    """Return the genotype that concatenates all nodes: by default, one for every two edges."""
    nodes = nodes or {cell: len(edges) // 2 for cell, edges in cells.items()}
    fields = [(tuple(cells[cell]), tuple(range(2, nodes[cell] + 2))) for cell in CELLS]
    return Genotype(*fields[0], *fields[1])


def _by_node(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the edges into each node."""
    start, count = 0, 2
    while start < len(rows):
        yield rows[start : start + count]
        start, count = start + count, count + 1


def _without_none(row: Sequence[str]) -> tuple[str, ...]:
    """Return the candidates of an edge that a discrete cell may have."""
    return tuple(name for name in row if name != "none")
