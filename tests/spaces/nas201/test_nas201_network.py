"""The discrete network of NAS-Bench-201: published sizes, image sizes and drop path."""

from __future__ import annotations

from typing import Any

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


def dropped(genotype: Genotype, batch_share: tuple[int, int] | None, x: Any) -> Any:
    torch.manual_seed(0)
    net = Network(genotype, channels=2, cells=1, drop_path=0.5).double().train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # so that samples are independent
    net.batch_share = batch_share
    torch.manual_seed(1)
    return net(x)


def test_drop_path_draws_for_the_whole_batch() -> None:
    genotype, x = Genotype.from_operations(*["avg_pool_3x3"] * 6), images(6, 3, 8, 8)
    whole = dropped(genotype, None, x)
    torch.testing.assert_close(dropped(genotype, (4, 6), x[4:]), whole[4:])
    assert not torch.allclose(dropped(genotype, None, x[4:]), whole[4:])


def test_drop_path_ignores_identities_and_evaluation() -> None:
    x = images(6, 3, 8, 8)
    net = Network(
        Genotype.from_operations(*["skip_connect"] * 6), channels=2, cells=1, drop_path=0.9
    ).double()
    torch.testing.assert_close(net(x), net(x))
    net = Network(
        Genotype.from_operations(*["nor_conv_1x1"] * 6), channels=2, cells=1, drop_path=0.9
    ).double()
    assert not torch.allclose(net(x), net(x))
    net.eval()
    torch.testing.assert_close(net(x), net(x))
