"""Encoding and sampling of NAS-Bench-201 genotypes."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch

from darts.spaces.nas201 import PRIMITIVES, Genotype, decode, encode, parameters, random_genotype
from darts.spaces.parameters import Parameters


def test_draws_are_uniform_and_use_only_the_generator() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [random_genotype(generator) for _ in range(2000)]
    for edge in range(6):
        counts = Counter(genotype.operations[edge] for genotype in drawn)
        assert set(counts) == set(PRIMITIVES)
        assert all(abs(count - 400) < 90 for count in counts.values())  # five deviations
    torch.rand(3)
    generator.manual_seed(0)
    assert [random_genotype(generator) for _ in range(5)] == drawn[:5]


def test_each_edge_has_one_parameter() -> None:
    assert [parameter.name for parameter in parameters()] == [
        *("0>1", "0>2", "1>2", "0>3", "1>3", "2>3")
    ]
    point = encode(Genotype.from_index(7777))
    assert tuple(point.values()) == Genotype.from_index(7777).operations
    with pytest.raises(ValueError, match="unknown operation 'nor_conv_5x5'"):
        decode({**point, "1>3": "nor_conv_5x5"})


def test_neighbors_differ_in_one_operation() -> None:
    genotype = Genotype.from_index(7777)
    near = Parameters(parameters()).neighbors(encode(genotype), Random(0))
    actual = [decode(point) for point in near]
    everything = map(Genotype.from_index, range(15625))
    expected = {
        other
        for other in everything
        if sum(a != b for a, b in zip(genotype.operations, other.operations, strict=True)) == 1
    }
    assert set(actual) == expected
    assert len(actual) == len(expected) == 24
