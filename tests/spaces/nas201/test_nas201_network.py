"""The discrete network of NAS-Bench-201: published sizes."""

from __future__ import annotations

import pytest

from darts.spaces.nas201 import Genotype, Network


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [("nor_conv_3x3", 1_531_546), ("skip_connect", 73_306), ("none", 73_306)],
)
def test_parameters_match_the_benchmark(operation: str, parameters: int) -> None:
    # 1.531546 and 0.073306 million in the benchmark's own records for CIFAR-10.
    net = Network(Genotype.from_operations(*[operation] * 6))
    assert sum(p.numel() for p in net.parameters()) == parameters
