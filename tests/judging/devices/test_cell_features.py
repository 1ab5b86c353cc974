"""Features of cells equal counts over all paths, which are enumerated one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from darts.judging.devices.cell_features import encode
from darts.spaces import SPACES, AnyGenotype
from darts.spaces.nas201 import Genotype

Arc = tuple[int, int, str]


def paths(edges: list[Arc], start: int) -> Iterator[list[Arc]]:
    """Yield every path from a state, also the empty one; ``none`` blocks a path."""
    yield []
    for edge in edges:
        if edge[0] == start and edge[2] != "none":
            for rest in paths(edges, edge[1]):
                yield [edge, *rest]


def expected(genotype: AnyGenotype, cell: str) -> dict[str, float]:
    """Return the features of the encoding ``graph`` by enumeration."""
    edges, outputs = genotype.edges(cell), set(genotype.concat(cell))
    starts = range(genotype.inputs)
    space = SPACES[genotype.space]
    counts: Counter[str] = Counter()
    members: dict[str, list[Arc]] = {"count": [], "live": [], "used": []}
    for edge in edges:
        source, target, name = edge
        ends = [p[-1][1] if p else target for p in paths(edges, target)]
        live = name != "none" and bool(outputs & set(ends))
        reached = {p[-1][1] if p else start for start in starts for p in paths(edges, start)}
        fed = name != "none" and source in reached
        kinds = {"count": True, "live": live, "fed": fed, "used": live and fed}
        for kind, holds in kinds.items():
            counts[f"{kind}.{cell}.{name}"] += holds
            if kind in members and holds and name != "none":
                members[kind].append(edge)
    complete = [p for start in starts for p in paths(edges, start) if p and p[-1][1] in outputs]
    for name, ignored in (
        ("operations", space.skip_operations),
        ("weights", space.weightless_operations),
    ):
        lengths = [sum(edge[2] not in ignored for edge in path) for path in complete]
        counts[f"longest.{cell}.{name}"] = max(lengths, default=0)
    for kind, found in members.items():
        counts[f"sums.{cell}.{kind}"] = len(found) - len({edge[1] for edge in found})
    counts[f"connected.{cell}"] = int(bool(complete))
    return {name: float(value) for name, value in counts.items() if value}


@pytest.mark.parametrize("space", ["nas201", "cnn", "macro", "mlp"])
def test_features_equal_an_enumeration_of_paths(space: str) -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(60 if space == "nas201" else 8):
        genotype = SPACES[space]().random(draw)
        features = {k: v for k, v in encode(genotype, "graph").items() if v}
        theirs: dict[str, float] = {}
        for cell in genotype.cells:
            theirs |= expected(genotype, cell)
        assert features == theirs


def test_places_have_one_operation_each() -> None:
    cell = Genotype.from_index(7777)
    names = [f"place.cell.{s}>{t}.{name}" for s, t, name in cell.edges()]
    assert encode(cell, "places") == dict.fromkeys(names, 1.0)
    assert encode(cell, "edges") == encode(cell, "graph") | encode(cell, "places")
