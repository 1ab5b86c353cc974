"""The argmax discretization: its limit on skip connections, and which edges it keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_search import context_and_supernet
from torch import Tensor

import darts
from darts.config import ConfigError, compose
from darts.methods.discretization import Argmax
from darts.recipes.search import check as check_search
from darts.searching.alphas import genotype_counts
from darts.spaces import SearchContext, parse_genotype
from darts.spaces.genotype import PRIMITIVES, Genotype
from darts.spaces.transformer import Transformer

CONTEXT = context_and_supernet("cnn")[0]
SKIP = PRIMITIVES.index("skip_connect")


def tables(seed: int, favor: float = 3.0) -> dict[str, Tensor]:
    """Return probabilities that favor skip connections in both cells."""
    generator = torch.Generator().manual_seed(seed)
    alphas = torch.randn(2, 14, 8, generator=generator, dtype=torch.float64)
    alphas[:, :, SKIP] += favor
    return dict(zip(("normal", "reduce"), alphas.softmax(-1), strict=True))


def derive_cell(table: list[list[float]]) -> list[tuple[float, int, int, str]]:
    """Return probability, edge, node and operation of the edges that a cell keeps."""
    kept = []
    first = 0
    for node in range(2, 6):
        best = []
        for edge in range(first, first + node):
            column = max(range(1, 8), key=lambda c: table[edge][c])
            best.append((table[edge][column], edge, node, PRIMITIVES[column]))
        kept += sorted(best, reverse=True)[:2]
        first += node
    return kept


def slow(table: Tensor, limit: int) -> set[tuple[int, str]]:
    """Return edges and operations of the normal cell; remove the weakest skip and repeat."""
    rows = [list(row) for row in table.tolist()]
    while True:
        kept = derive_cell(rows)
        skips = sorted(entry for entry in kept if entry[3] == "skip_connect")
        if len(skips) <= limit:
            return {(edge, name) for _, edge, _, name in kept}
        rows[skips[0][1]][SKIP] = 0.0


def edges_of(genotype: Genotype, cell: str) -> set[tuple[int, str]]:
    places = {pair: edge for edge, pair in enumerate(CONTEXT.edges[cell])}
    return {(places[source, node], name) for source, node, name in genotype.edges(cell)}


@pytest.mark.parametrize("limit", range(9))
def test_skip_limit_matches_the_slow_implementation(limit: int) -> None:
    for seed in range(6):
        probabilities = tables(seed, favor=1.5)
        before = {group: table.clone() for group, table in probabilities.items()}
        actual = Argmax(skip_limit=limit).genotype(probabilities, CONTEXT)
        assert actual.count("skip_connect", "normal") <= limit
        assert edges_of(actual, "normal") == slow(probabilities["normal"], limit)
        free = Argmax().genotype(probabilities, CONTEXT)
        assert actual.reduce == free.reduce  # the limit applies to the normal cell only
        assert all(probabilities[group].equal(before[group]) for group in before)


def test_skip_limit_keeps_skips_without_alternative() -> None:
    candidates = dict.fromkeys(("normal", "reduce"), (("skip_connect", "sep_conv_3x3"),) * 14)
    context: SearchContext = dataclasses.replace(CONTEXT, candidates=candidates)
    table = torch.tensor([[0.8, 0.2]] * 14)
    table[0] = torch.tensor([1.0, 0.0])
    table[1] = torch.tensor([1.0, 0.0])
    probabilities = {"normal": table, "reduce": table}
    for limit, wanted in ((0, 2), (1, 2), (2, 2), (4, 4)):
        actual = Argmax(skip_limit=limit).genotype(probabilities, context)
        assert actual.count("skip_connect", "normal") == wanted
    only = torch.tensor([[1.0, 0.0]] * 14)
    actual = Argmax(skip_limit=2).genotype({"normal": only, "reduce": only}, context)
    assert actual.count("skip_connect", "normal") == 8


def test_skip_limit_counts_identity_blocks_of_transformers() -> None:
    space = Transformer(cells=3)
    net = space.supernet(vocab_size=5)
    context = SearchContext.from_supernet(space, net)
    tables = {name: torch.full(alpha.shape, 0.01) for name, alpha in net.alphas.items()}
    for row, names in enumerate(net.candidates["mixer"]):
        tables["mixer"][row, names.index("identity")] = 0.5 + 0.1 * row
    for limit in (3, 1, 0):
        actual = Argmax(skip_limit=limit).genotype(tables, context)
        assert genotype_counts(actual)["genotype/blocks/identity"] == limit


def strongest_pairs(table: list[list[float]]) -> list[tuple[int, int, str]]:
    """Return ``(source, node, operation)`` of the two strongest operations into each node."""
    kept, first = [], 0
    for node in range(2, 6):
        pairs = [
            (table[first + source][column], source, PRIMITIVES[column])
            for source in range(node)
            for column in range(1, 8)
        ]
        kept += [(source, node, name) for _, source, name in sorted(pairs, reverse=True)[:2]]
        first += node
    return kept


def test_pairs_keep_the_two_strongest_operations_into_each_node() -> None:
    double = 0
    for seed in range(20):
        probabilities = tables(seed, favor=0)
        genotype = Argmax(edges="pairs").genotype(probabilities, CONTEXT)
        for cell in ("normal", "reduce"):
            expected = strongest_pairs(probabilities[cell].tolist())
            assert genotype.edges(cell) == expected
            double += sum(a[0] == b[0] for a, b in zip(expected[::2], expected[1::2], strict=True))
    assert double > 5  # both on one edge


def test_all_edges_keep_their_strongest_operation() -> None:
    genotype = Argmax(edges="all").genotype(tables(1, favor=0), CONTEXT)
    for cell in ("normal", "reduce"):
        names = [PRIMITIVES[int(row.argmax())] for row in tables(1, favor=0)[cell]]
        assert [name for _, _, name in genotype.edges(cell)] == names
        assert [edge[:2] for edge in genotype.edges(cell)] == list(CONTEXT.edges[cell])
    mask = CONTEXT.space.mask(genotype, CONTEXT.candidates)
    assert all(torch.equal(m.float().argmax(1), p.argmax(1)) for m, p in zip(
        mask.values(), tables(1, favor=0).values(), strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["space=nas201"], "discretize.edges=pairs: space=nas201 has no such rule"),
        (["penalty.flops=1e6"], "penalty: expected costs assume discretize.edges=two, not pairs"),
        (["discretize.skip_limit=2"], "discretize.skip_limit=2 needs discretize.edges=two"),
    ],
)
def test_rules_of_edges_are_refused_where_they_do_not_fit(more: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_search(compose("search", ["dataset=synthetic", "discretize.edges=pairs", *more]))


@pytest.mark.parametrize("rule", ["pairs", "all"])
def test_a_cell_with_other_edges_is_searched_and_retrained(rule: str, cwd: Path) -> None:
    small = ["dataset.samples=48", "space.channels=4", "space.cells=3", "tracking.figures=false"]
    run = darts.search(
        data="synthetic", epochs=1, out="a", overrides=[*small, f"discretize.edges={rule}"]
    )
    assert len(run.genotype.edges("normal")) == {"pairs": 8, "all": 14}[rule]
    darts.retrain(run, epochs=1, out="b", overrides=[*small, "auxiliary=0"])
    assert parse_genotype((cwd / "b" / "genotype.json").read_text()) == run.genotype
