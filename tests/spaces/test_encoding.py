"""Random cell genotypes: valid, repeatable and uniform."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from darts.spaces.cnn.encoding import random_genotype
from darts.spaces.genotype import PRIMITIVES, Genotype


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("nodes", [1, 4, 6])
def test_random_genotypes_have_distinct_sources_and_concatenate_all_nodes(nodes: int) -> None:
    source = generator(nodes)
    for _ in range(20):
        genotype = random_genotype(source, nodes)
        for cell in Genotype.cells:
            edges = genotype.edges(cell)
            assert genotype.nodes(cell) == nodes
            assert genotype.concat(cell) == tuple(range(2, nodes + 2))
            assert all(
                first[0] != second[0] for first, second in zip(edges[::2], edges[1::2], strict=True)
            )
        assert genotype.count("none") == 0


def test_sources_and_operations_are_uniform() -> None:
    source = generator(7)
    draws = 1500
    pairs: Counter[Any] = Counter()
    names: Counter[str] = Counter()
    for _ in range(draws):
        edges = random_genotype(source, 2).edges("normal")
        pairs[edges[2][0], edges[3][0]] += 1
        names.update(name for _, _, name in edges)
    assert set(pairs) == {(0, 1), (0, 2), (1, 2)}
    assert set(names) == set(PRIMITIVES) - {"none"}
    # Five standard deviations of a binomial count around its mean.
    assert all(abs(n - draws / 3) < 5 * (draws * 2 / 9) ** 0.5 for n in pairs.values())
    assert all(abs(n - 4 * draws / 7) < 5 * (4 * draws * 6 / 49) ** 0.5 for n in names.values())


def test_random_genotypes_use_only_the_given_operations() -> None:
    genotype = random_genotype(generator(0), operations=["skip_connect"])
    assert genotype.count("skip_connect") == 16
