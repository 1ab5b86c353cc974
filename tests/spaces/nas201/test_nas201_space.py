"""The NAS-Bench-201 space: derivation, points and sampling."""

from __future__ import annotations

import torch

from darts.spaces.nas201 import PRIMITIVES, Genotype, Nas201

SPACE = Nas201()
CANDIDATES = {"cell": (PRIMITIVES,) * 6}


def test_the_most_probable_operation_is_derived_including_none() -> None:
    names = ("none", "avg_pool_3x3", "nor_conv_1x1", "none", "skip_connect", "nor_conv_3x3")
    table = torch.full((6, 5), 0.1)
    for edge, name in enumerate(names):
        table[edge, PRIMITIVES.index(name)] = 0.6
    assert SPACE.derive({"cell": table}, CANDIDATES) == Genotype.from_operations(*names)


def test_all_operations_are_drawn_as_by_the_index() -> None:
    ours, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for _ in range(20):
        index = int(torch.randint(5**6, (), generator=theirs))
        assert Nas201().random(ours) == Genotype.from_index(index)
