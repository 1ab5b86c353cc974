"""Cell genotypes: derivation from probabilities, random sampling, and conversion to points.

References:
    DARTS, arXiv:1806.09055, section 2.4 (derivation) and section 3.2. "Random Search and
    Reproducibility for NAS", arXiv:1902.07638: uniformly sampled cells as a baseline.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.cnn.skeleton import count_nodes
from darts.spaces.deriving import (
    ByGroup,
    Candidates,
    check_candidate,
    checked_rows,
    draw,
    edge_mask,
)
from darts.spaces.genotype import CELLS, Genotype, Pairs, all_edges, drop_edges
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import Space

T = TypeVar("T")


@dataclass
class CellSpace(Space):
    """A space of cells whose nodes keep two edges each, and one operation on each of them.

    In a point, each node has a parameter for the pair of states that it reads. Each edge has a
    parameter for its operation, which is active if the pair contains the edge's source. So each
    genotype is exactly one point.
    """

    genotype: ClassVar[type[AnyGenotype]] = Genotype
    fan_in: ClassVar[int | None] = 2
    supports_missing_edges: ClassVar[bool] = True
    edge_rules: ClassVar[tuple[str, ...]] = ("pairs", "all")

    @property
    @abstractmethod
    def edge_candidates(self) -> Candidates:
        """By group, the candidates of each edge; edges are ordered by node, then by source."""

    def derive(self, probabilities: ByGroup, candidates: Candidates) -> Genotype:
        """Keep the two strongest edges into each node and the strongest operation of each.

        The strength of an edge is the probability of its most probable operation other than
        ``none``. ``none`` takes part in the softmax, so edges must be ranked by probability: the
        edge with the largest alpha need not be the edge with the largest probability. The genotype
        concatenates all nodes; the stronger edge of a node comes first. Ties go to the lower index,
        for edges and for operations.
        """
        return self.derive_by("two", probabilities, candidates)

    def derive_by(self, rule: str, probabilities: ByGroup, candidates: Candidates) -> Genotype:
        """Derive a genotype by a rule.

        Args:
            rule: "two": see ``derive``. "pairs": the two strongest operations of all edges into a
                node, which may be on one edge (the later code of GDAS). "all": the strongest
                operation of every edge, ``none`` included (the code of SNAS).
        """
        tables = checked_rows(probabilities, candidates)
        cells = [_derive_cell(tables[cell], candidates[cell], rule) for cell in CELLS]
        return Genotype(*cells[0], *cells[1])

    def without_improbable_edges(
        self, genotype: Genotype, probabilities: ByGroup, candidates: Candidates, threshold: float
    ) -> Genotype:
        """Remove improbable edges.

        If no edge of a cell remains, the cell keeps its most probable edge from an input.
        """
        cells: list[tuple[Pairs, tuple[int, ...]]] = []
        for cell in CELLS:
            layout = all_edges(count_nodes(len(candidates[cell])))
            table = dict(zip(layout, probabilities[cell].tolist(), strict=True))
            names = dict(zip(layout, candidates[cell], strict=True))
            values = [
                table[source, target][names[source, target].index(name)]
                for source, target, name in genotype.edges(cell)
            ]
            pairs, concat = getattr(genotype, cell), genotype.concat(cell)
            from_inputs = [index for index, (_, source) in enumerate(pairs) if source < 2]
            best = max(from_inputs, key=values.__getitem__)
            sparse = drop_edges(pairs, concat, [value >= threshold for value in values])
            if not sparse[1]:
                sparse = drop_edges(pairs, concat, [index == best for index in range(len(pairs))])
            cells.append(sparse)
        return Genotype(*cells[0], *cells[1])

    def random(self, generator: torch.Generator) -> Genotype:
        """Draw two distinct sources per node and an operation other than ``none`` for each."""

        def draw_cell(rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, int]]:
            for edges in _by_node(rows):
                order = torch.randperm(len(edges), generator=generator, device=generator.device)
                for source in sorted(order[:2].tolist()):
                    yield draw(generator, _without_none(edges[source])), source

        return _genotype({cell: list(draw_cell(self.edge_candidates[cell])) for cell in CELLS})

    def parameters(self) -> list[Parameter]:
        parameters: list[Parameter] = []
        for cell, rows in self.edge_candidates.items():
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

    def encode(self, genotype: Genotype) -> Point:
        point: Point = {}
        for cell, rows in self.edge_candidates.items():
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
                        f"node {node} of the {cell} cell has {len(own)} edges; the points of "
                        f"space={self.name} describe cells with two edges per node"
                    )
                a, b = (source for source, _ in own)
                if a == b:
                    raise ValueError(f"node {node} of the {cell} cell reads state {a} twice")
                point[f"{cell}.{node}"] = f"{a}+{b}"
                for source, name in own:
                    place = f"the edge from {source} to {node} of the {cell} cell"
                    check_candidate(name, _without_none(nodes[node - 2][source]), place)
                    point[f"{cell}.{source}>{node}"] = name
        return point

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        cells = {
            cell: [
                (str(point[f"{cell}.{source}>{node}"]), int(source))
                for node, _ in enumerate(_by_node(rows), 2)
                for source in str(point[f"{cell}.{node}"]).split("+")
            ]
            for cell, rows in self.edge_candidates.items()
        }
        return _genotype(cells)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return {
            cell: edge_mask(genotype.edges(cell), all_edges(count_nodes(len(names))), names, cell)
            for cell, names in candidates.items()
        }


def _derive_cell(
    rows: Sequence[Sequence[float]], names: Sequence[Sequence[str]], rule: str
) -> tuple[Pairs, tuple[int, ...]]:
    """Return ``(operation, source)`` of each kept edge of one cell, and all its nodes."""
    kept: list[tuple[str, int]] = []
    for node in _by_node(list(zip(names, rows, strict=True))):
        operations = [
            (-value, source, name)
            for source, (row, p) in enumerate(node)
            for name, value in zip(row, p, strict=True)
            if name != "none" or rule == "all"
        ]
        operations.sort(key=itemgetter(0))  # keeps the order of ties
        best: dict[int, str] = {}  # of each edge, the strongest edge first
        for _, source, name in operations:
            best.setdefault(source, name)
        if rule == "all":
            kept += [(best[source], source) for source in sorted(best)]
        elif rule == "pairs":
            kept += [(name, source) for _, source, name in operations[:2]]
        else:
            kept += [(name, source) for source, name in itertools.islice(best.items(), 2)]
    return tuple(kept), tuple(range(2, count_nodes(len(names)) + 2))


def _genotype(cells: Mapping[str, Sequence[tuple[str, int]]]) -> Genotype:
    """Return the genotype of cells with two edges per node, which concatenate all nodes."""
    fields = [(tuple(cells[cell]), tuple(range(2, len(cells[cell]) // 2 + 2))) for cell in CELLS]
    return Genotype(*fields[0], *fields[1])


def _by_node(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the edges into each node."""
    start, count = 0, 2
    while start < len(rows):
        yield rows[start : start + count]
        start, count = start + count, count + 1


def _without_none(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in row if name != "none")
