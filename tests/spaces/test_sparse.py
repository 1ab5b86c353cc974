"""Cells whose nodes have fewer than two inputs, and their texts with triples."""

from __future__ import annotations

import re

import pytest

from darts.spaces.genotype import Genotype
from darts.spaces.sparse import drop_edges

REDUCE = "reduce=[('skip_connect', 2, 0)], reduce_concat=range(2, 6)"
A = (
    "FairDARTS_a = Genotype(normal=[('sep_conv_3x3', 2, 0), ('sep_conv_5x5', 2, 1), "
    "('max_pool_3x3', 4, 0), ('sep_conv_3x3', 5, 3)], normal_concat=range(2, 6), " + REDUCE + ")"
)


def test_triples_become_two_edges_per_node() -> None:
    genotype = Genotype.parse(A)
    assert genotype.normal == (
        ("sep_conv_3x3", 0), ("sep_conv_5x5", 1),
        ("none", 0), ("none", 1),
        ("max_pool_3x3", 0), ("none", 1),
        ("none", 3), ("none", 0),  # node 3 does not exist, so its edge is ignored
    )  # fmt: skip
    assert genotype.normal_concat == (2, 4)
    assert genotype.reduce_concat == (2,)
    for text in (genotype.to_json(), str(genotype)):
        assert Genotype.parse(text) == genotype


def test_json_may_have_triples_too() -> None:
    text = (
        '{"space": "cnn", "normal": [["skip_connect", 3, 1]], "normal_concat": [2, 3],'
        ' "reduce": [["skip_connect", 0], ["none", 1]], "reduce_concat": [2]}'
    )
    genotype = Genotype.parse(text)
    assert (genotype.nodes("normal"), genotype.normal_concat) == (2, (3,))


@pytest.mark.parametrize(
    ("normal", "concat", "problem"),
    [
        ("('skip_connect', 2, 0), ('skip_connect', 1)", "[2]", "edge 1 of normal is"),
        ("('skip_connect', 1, 0)", "[2]", "edge 0 of normal: 1 is not a node"),
        ("('skip_connect', 99, 0)", "[2]", "edge 0 of normal: 99 is not a node"),
        ("('skip_connect', 'x', 0)", "[2]", "edge 0 of normal: 'x' is not a node"),
        ("('skip_connect', 2, 5)", "[2]", "no concatenated node has an input"),
        ("('conv', 2, 1)", "[2]", "'conv'"),
        ("('skip_connect', 2, 'x')", "[2]", "no concatenated node has an input"),
        ("('skip_connect', 2, 0), ('max_pool_3x3', 2, 0)", "[2]", "node 2 reads state 0 twice"),
        (
            "('skip_connect', 3, 0), ('skip_connect', 3, 1), ('skip_connect', 3, 2)",
            "[3]",
            "node 3 has more than two inputs",
        ),
        ("('skip_connect', 3, 2)", "[3]", "no concatenated node has an input"),
        ("('skip_connect', 2, 0)", "[]", "normal_concat must be a list with at least one entry"),
    ],
)
def test_invalid_triples_are_rejected(normal: str, concat: str, problem: str) -> None:
    text = f"Genotype(normal=[{normal}], normal_concat={concat}, {REDUCE})"
    with pytest.raises(ValueError, match=re.escape(problem)):
        Genotype.parse(text)


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
