"""Architectures as points: drawn, numbered, and next to each other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from darts.spaces.nas201 import (
    PRIMITIVES,
    Genotype,
    decode,
    dimensions,
    encode,
    neighbours,
    random_genotype,
)


def test_draws_are_uniform_and_of_the_generator_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [random_genotype(generator) for _ in range(2000)]
    for edge in range(6):
        counts = Counter(genotype.operations[edge] for genotype in drawn)
        assert set(counts) == set(PRIMITIVES)
        assert all(abs(count - 400) < 90 for count in counts.values())  # five deviations
    torch.rand(3)
    generator.manual_seed(0)
    assert [random_genotype(generator) for _ in range(5)] == drawn[:5]


def test_numbers_there_and_back() -> None:
    assert [name for name, _ in dimensions()] == ["0>1", "0>2", "1>2", "0>3", "1>3", "2>3"]
    for index in range(0, 15625, 111):
        genotype = Genotype.from_index(index)
        point = encode(genotype)
        assert decode(point) == genotype
        chosen = [choices[number] for (_, choices), number in zip(dimensions(), point, strict=True)]
        assert tuple(chosen) == genotype.operations


@pytest.mark.parametrize("point", [(0,) * 5, (0, 0, 0, 0, 0, 5), (0, 0, -1, 0, 0, 0), (0.0,) * 6])
def test_wrong_numbers(point: Any) -> None:
    with pytest.raises(ValueError, match=r"no operation's number|6 edges, not 5"):
        decode(point)


def test_neighbours_are_all_at_distance_one() -> None:
    genotype = Genotype.from_index(7777)
    found = neighbours(genotype)
    everything = map(Genotype.from_index, range(15625))
    wanted = {
        other
        for other in everything
        if sum(a != b for a, b in zip(genotype.operations, other.operations, strict=True)) == 1
    }
    assert set(found) == wanted
    assert len(found) == len(wanted) == 24
