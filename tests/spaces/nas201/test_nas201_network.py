"""The discrete network of NAS-Bench-201: published sizes and drop path."""

from __future__ import annotations

import pytest
import torch
from oracles.comparing import images

from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.network import Network
from darts.spaces.rank_dropout import set_batch_share


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [("nor_conv_3x3", 1_531_546), ("skip_connect", 73_306), ("none", 73_306)],
)
def test_parameters_match_the_benchmark(operation: str, parameters: int) -> None:
    # 1.531546 and 0.073306 million in the benchmark's own records for CIFAR-10.
    net = Network(Genotype.from_operations(*[operation] * 6))
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(("name", "drops"), [("skip_connect", False), ("avg_pool_3x3", True)])
def test_drop_path_draws_for_the_whole_batch_and_ignores_identities(name: str, drops: bool) -> None:
    genotype, x = Genotype.from_operations(*[name] * 6), images(6, 3, 8, 8)
    net = Network(genotype, channels=2, cells=1, drop_path=0.5).double()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # so that samples are independent
    torch.manual_seed(1)
    whole = net(x)
    assert torch.allclose(net(x), whole) != drops
    torch.manual_seed(1)
    set_batch_share(net, 4, 6)
    torch.testing.assert_close(net(x[4:]), whole[4:])
    assert torch.equal(net.eval()(x), net(x))
