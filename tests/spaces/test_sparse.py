"""Cells whose nodes have fewer than two inputs."""

from __future__ import annotations

from darts.spaces.genotype import Genotype
from darts.spaces.sparse import drop_edges


def test_edges_from_removed_nodes_are_removed() -> None:
    pairs = tuple(("skip_connect", source) for source in (0, 1, 2, 2, 3, 0))
    edges, concat = drop_edges(pairs, (2, 3, 4), [False, False, True, True, True, True])
    assert edges == (*(("none", s) for s in (0, 1, 2, 2, 3)), ("skip_connect", 0))
    assert concat == (4,)
    assert drop_edges(pairs, (2, 3), [False] * 6)[1] == ()


def test_the_source_of_a_missing_edge_does_not_matter() -> None:
    one, other = (
        Genotype((("none", s), ("skip_connect", 1)), (2,), (("skip_connect", 0),) * 2, (2,))
        for s in (0, 1)
    )
    assert one != other
    assert one.canonical() == other.canonical()
