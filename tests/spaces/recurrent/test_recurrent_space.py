"""The recurrent space: derived cells, points, costs and error messages."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.spaces import SearchContext
from darts.spaces.recurrent import PUBLISHED, Genotype, Recurrent
from darts.spaces.recurrent.genotype import PRIMITIVES

SMALL: dict[str, Any] = {"nodes": 3, "embedding": 4, "hidden": 4}
WORDS = 9


def context_and_supernet(**options: Any) -> tuple[SearchContext, Any]:
    torch.manual_seed(0)
    space = Recurrent(**SMALL | options)
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
