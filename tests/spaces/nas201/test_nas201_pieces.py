"""Pieces of the NAS-Bench-201 network, and their sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.spaces.nas201 import PRIMITIVES, Network, pieces, random_genotype
from darts.training.cost import count_macs, count_parameters


@pytest.mark.parametrize(("seed", "sides"), [(0, (8, 8)), (1, (9, 13)), (2, (32, 32))])
def test_parameters_and_macs_of_pieces_add_up(seed: int, sides: tuple[int, int]) -> None:
    genotype = random_genotype(torch.Generator().manual_seed(seed))
    sizes: dict[str, int] = {"channels": 4, "cells": 2, "classes": 7, "in_channels": 2}
    columns = [PRIMITIVES.index(name) for name in genotype.operations]
    parameters = macs = places = 0
    for piece in pieces(sizes["channels"], sizes["cells"], sizes["classes"], (2, *sides)):
        places += piece.place is not None
        if piece.place is not None and columns[piece.place[1]] != piece.place[2]:
            continue
        module = piece.make()
        parameters += count_parameters(module.parameters())
        macs += count_macs(module, torch.zeros(1, *piece.shape))
    net = Network(genotype, **sizes)
    assert places == 6 * 6 * 5
    assert parameters == count_parameters(net.parameters())
    assert macs == count_macs(net, torch.zeros(1, 2, *sides))


def test_columns_have_the_order_of_the_operations() -> None:
    names = ("nor_conv_3x3", "none")
    actual = [p for p in pieces(2, 1, 3, (3, 8, 8), names) if p.place is not None]
    assert {p.place for p in actual} == {("cell", e, c) for e in range(6) for c in range(2)}
    assert all(bool(list(p.make().parameters())) == (p.place[2] == 0) for p in actual if p.place)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells=0: must be an integer >= 1"),
        ({"image": (3, 8)}, r"image=\(3, 8\): must be a shape \(C, H, W\)"),
        ({"image": (3, 8, 0)}, "width=0: must be an integer >= 1"),
        ({"operations": ("conv",)}, "unknown operation 'conv'"),
    ],
)
def test_invalid_sizes_are_rejected(options: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"channels": 2, "cells": 1, "classes": 3, "image": (3, 8, 8)}
    with pytest.raises(ValueError, match=message):
        pieces(**valid | options)
