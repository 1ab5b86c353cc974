"""The discrete network of NAS-Bench-201: published sizes, and nodes without edges."""

from __future__ import annotations

import pytest
import torch
from oracles.comparing import images

from darts.spaces.nas201 import Genotype, Network


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [("nor_conv_3x3", 1_531_546), ("skip_connect", 73_306), ("none", 73_306)],
)
def test_parameters_match_the_benchmark(operation: str, parameters: int) -> None:
    # 1.531546 and 0.073306 million in the benchmark's own records for CIFAR-10.
    net = Network(Genotype.from_operations(*[operation] * 6))
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_a_node_without_edges_is_zero() -> None:
    net = Network(Genotype.from_index(0), channels=2, cells=1).double().eval()
    first, second = net(images(2, 3, 8, 8))
    torch.testing.assert_close(first, second)
    net = Network(
        Genotype.from_operations("none", *["nor_conv_1x1"] * 5), channels=2, cells=1
    ).double()
    assert torch.isfinite(net(images(2, 3, 8, 8))).all()
