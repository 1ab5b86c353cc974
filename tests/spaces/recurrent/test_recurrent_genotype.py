"""Genotypes of recurrent cells and their space: notations, published cells, points and costs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.spaces import SearchContext, parse_genotype
from darts.spaces.cnn import PUBLISHED as CNN
from darts.spaces.describe import difference, is_chain
from darts.spaces.lookup import find_genotype
from darts.spaces.recurrent import PUBLISHED, Genotype, Recurrent
from darts.spaces.recurrent.genotype import PRIMITIVES

PAIRS: Any = [("tanh", 0), ("relu", 1), ("identity", 1)]
SMALL = Genotype(PAIRS, range(1, 4))
CLASSIC = "Genotype(recurrent=[('tanh', 0), ('relu', 1), ('identity', 1)], concat=range(1, 4))"


def test_the_order_of_outputs_does_not_matter() -> None:
    other = Genotype(PAIRS, [3, 1, 2])
    assert other != SMALL
    assert other.canonical() == SMALL.canonical()
    assert other.canonical() != Genotype(PAIRS, [3, 1]).canonical()
    assert str(other).endswith("concat=[3, 1, 2])")


def test_a_sequence_of_nodes_with_several_outputs_is_not_a_chain() -> None:
    row: Any = [("tanh", 0), ("tanh", 1)]
    assert not is_chain(Genotype(row, (1, 2)), "recurrent")
    assert is_chain(Genotype(row, (2,)), "recurrent")
    assert difference(Genotype(row, (1, 2)), Genotype(row, (2,))) == [
        "recurrent, output: node 1, node 2 vs. node 2"
    ]


@pytest.mark.parametrize(
    "text",
    [
        CLASSIC,
        CLASSIC.replace("recurrent=", "").replace("concat=", ""),
        "Genotype(concat=(1, 2, 3), recurrent=(('tanh', 0), ('relu', 1), ('identity', 1)))",
        SMALL.to_json(),
    ],
)
def test_all_notations_parse_to_the_same_genotype(text: str) -> None:
    assert Genotype.parse(text) == SMALL
    assert parse_genotype(text) == SMALL
    assert find_genotype(text) == ("given", SMALL)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "DARTS_RNN_V2",
            "DARTS_V2 = Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), "
            "('identity', 1), ('tanh', 2), ('sigmoid', 5), ('tanh', 3), ('relu', 5)], "
            "concat=range(1, 9))",
        ),
        (
            "ENAS_RNN",
            "ENAS = Genotype(recurrent = [('tanh', 0), ('tanh', 1), ('relu', 1), ('tanh', 3), "
            "('tanh', 3), ('relu', 3), ('relu', 4), ('relu', 7), ('relu', 8), ('relu', 8), "
            "('relu', 8)], concat = [2, 5, 6, 9, 10, 11])",
        ),
    ],
)
def test_published_text_parses_to_the_published_cells(name: str, text: str) -> None:
    assert parse_genotype(text) == PUBLISHED[name].genotype
    assert find_genotype(name) == (name, PUBLISHED[name].genotype)
    assert find_genotype(name.lower())[1] == PUBLISHED[name].genotype


def test_published_entries_are_complete() -> None:
    assert set(PUBLISHED) == {"DARTS_RNN_V1", "DARTS_RNN_V2", "ENAS_RNN"}
    assert not set(PUBLISHED) & set(CNN)
    for name, entry in PUBLISHED.items():
        assert entry.name == name
        assert 55 < float(entry.result) < 59


THREE_NODES: dict[str, Any] = {"nodes": 3, "embedding": 4, "hidden": 4}
WORDS = 9


def context_and_supernet(**options: Any) -> tuple[SearchContext, Any]:
    torch.manual_seed(0)
    space = Recurrent(**THREE_NODES | options)
    net = space.supernet(vocab_size=WORDS)
    return SearchContext.from_supernet(space, net), net


def random_table(seed: int, edges: int = 6) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(edges, 5, generator=draw, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("seed", range(20))
def test_derive_keeps_the_most_probable_candidate_of_each_node(seed: int) -> None:
    context, _ = context_and_supernet()
    table = random_table(seed)
    table[:, 0] += 0.5 * (seed % 2)  # none is never kept, however probable
    table = table / table.sum(-1, keepdim=True)
    actual = context.space.derive({"recurrent": table}, context.candidates)
    first = 0
    for node, pair in enumerate(actual.recurrent, 1):
        choices = itertools.product(range(node), range(1, 5))
        source, column = max(choices, key=lambda c: float(table[first + c[0], c[1]]))
        assert pair == (PRIMITIVES[column], source)
        first += node
    assert actual.outputs == (1, 2, 3)


def test_encode_rejects_genotypes_of_other_sizes() -> None:
    for genotype in (PUBLISHED["ENAS_RNN"].genotype, Genotype([("tanh", 0)] * 8, (1, 2))):
        with pytest.raises(ValueError, match=r"must have space\.nodes=8 nodes, and its output"):
            Recurrent().encode(genotype)
    Recurrent().encode(PUBLISHED["DARTS_RNN_V1"].genotype)


def test_expected_usage_sums_to_one_edge_per_node() -> None:
    context, _ = context_and_supernet()
    table = random_table(0).requires_grad_()
    usage = context.space.expected_usage({"recurrent": table}, context.candidates)["recurrent"]
    assert [float(rows.detach().sum()) for rows in usage.split([1, 2, 3])] == pytest.approx(
        [1, 1, 1]
    )
    assert not usage[:, 0].any()
    usage[0, 1].backward()
    assert table.grad[0, 1:].any()
