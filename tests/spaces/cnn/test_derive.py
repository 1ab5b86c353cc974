"""Derivation of cell genotypes against a literal implementation, random genotypes, and masks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from darts.spaces.cnn import Cnn
from darts.spaces.genotype import PRIMITIVES, Genotype

NODES = (2, 3, 4, 5)


def derive(probabilities: dict[str, Tensor]) -> Genotype:
    """Derive a genotype; the candidates of each edge are the ones of DARTS."""
    rows = {cell: [PRIMITIVES] * len(table) for cell, table in probabilities.items()}
    return Cnn().derive(probabilities, rows)


def node_source_pairs(nodes: int) -> list[tuple[int, int]]:
    """Return the pair ``(node, source)`` of every row."""
    return [(node, source) for node in range(nodes) for source in range(node + 2)]


def by_hand(table: list[list[float]], nodes: int) -> list[tuple[str, int]]:
    """For each node, select the strongest remaining edge twice."""
    picked: list[tuple[str, int]] = []
    rows = dict(zip(node_source_pairs(nodes), table, strict=True))
    for node in range(nodes):
        left = {source: rows[node, source] for source in range(node + 2)}
        for _ in range(2):
            best: tuple[float, int, int] | None = None
            for source in sorted(left):
                for column, name in enumerate(PRIMITIVES):
                    value = left[source][column]
                    if name != "none" and (best is None or value > best[0]):
                        best = (value, source, column)
            picked.append((PRIMITIVES[best[2]], best[1]))
            del left[best[1]]
    return picked


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[list[float]]]:
    """Cells with few distinct probabilities, so that ties are frequent."""
    nodes = draw(st.integers(1, 5))
    value = st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0]) | st.floats(0, 1, width=32)
    row = st.lists(value, min_size=8, max_size=8)
    count = len(node_source_pairs(nodes))
    return nodes, draw(st.lists(row, min_size=count, max_size=count))


@given(tables(), tables(), st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_derive_matches_a_literal_reading_of_the_paper(
    normal: tuple[int, list[list[float]]], reduce: tuple[int, list[list[float]]], dtype: torch.dtype
) -> None:
    genotype = derive(
        {
            "normal": torch.tensor(normal[1], dtype=dtype),
            "reduce": torch.tensor(reduce[1], dtype=dtype),
        }
    )
    for cell, (nodes, table) in (("normal", normal), ("reduce", reduce)):
        assert list(getattr(genotype, cell)) == by_hand(table, nodes)
        assert genotype.concat(cell) == tuple(range(2, nodes + 2))


def both(table: Tensor) -> dict[str, Tensor]:
    return {"normal": table, "reduce": table}


def test_derive_accepts_bfloat16_with_gradient() -> None:
    table = torch.softmax(torch.randn(14, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    expected = derive(both(table.bfloat16().double()))
    assert derive(both(table.bfloat16().requires_grad_())) == expected


def test_other_numbers_of_edges_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"2, 5, 9, 14, 20, ... edges, not 13"):
        derive(both(torch.rand(13, 8)))


def test_mask_rejects_operations_outside_the_candidates() -> None:
    space = Cnn()
    other = Cnn(candidates=["sep_conv_7x7"]).random(torch.Generator().manual_seed(0))
    with pytest.raises(
        ValueError, match=r"^sep_conv_7x7 from \d to \d is not a candidate of normal$"
    ):
        space.mask(other, space.edge_candidates)
    pairs, nodes = (("skip_connect", 0), ("skip_connect", 1)) * 5, tuple(range(2, 7))
    with pytest.raises(ValueError, match="from 0 to 6 is not a candidate"):
        space.mask(Genotype(pairs, nodes, pairs, nodes), space.edge_candidates)


def cell(*sources: int, name: str = "skip_connect") -> tuple[tuple[str, int], ...]:
    return tuple((name, source) for _ in range(4) for source in sources)


@pytest.mark.parametrize(
    ("candidates", "normal", "reduce_concat", "message"),
    [
        ("s2", cell(0, 1, name="max_pool_3x3"), NODES,
         "max_pool_3x3 is not a candidate of the edge from 0 to 2 of the normal cell"),
        ("all", cell(0, 0), NODES, "node 2 of the normal cell reads state 0 twice"),
        ("all", cell(0, 1), (2, 3), "the reduce cell must have 4 nodes and concatenate all"),
    ],
)  # fmt: skip
def test_cells_outside_the_space_have_no_point(
    candidates: str, normal: Any, reduce_concat: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Cnn(candidates=candidates).encode(Genotype(normal, NODES, cell(0, 1), reduce_concat))


def test_random_sources_and_operations_are_uniform() -> None:
    generator = torch.Generator().manual_seed(7)
    draws = 1500
    pairs: Counter[Any] = Counter()
    names: Counter[str] = Counter()
    for _ in range(draws):
        edges = Cnn().random(generator).edges("normal")[:4]
        pairs[edges[2][0], edges[3][0]] += 1
        names.update(name for _, _, name in edges)
    assert set(pairs) == {(0, 1), (0, 2), (1, 2)}
    assert set(names) == set(PRIMITIVES) - {"none"}
    # Five standard deviations of a binomial count around its mean.
    assert all(abs(n - draws / 3) < 5 * (draws * 2 / 9) ** 0.5 for n in pairs.values())
    assert all(abs(n - 4 * draws / 7) < 5 * (4 * draws * 6 / 49) ** 0.5 for n in names.values())
