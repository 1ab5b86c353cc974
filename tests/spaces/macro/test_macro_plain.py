"""The skeleton of plain convolutional networks: formulas, genotypes and costs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT
from torch import nn

from darts.spaces import space_of
from darts.spaces.macro import Genotype, Macro, Network
from darts.spaces.macro.skeleton import GridPool2d

DEEP = Genotype(("conv_3x3", "skip_connect", "conv_5x5", "mb_k3_e3", "mb_k5_e3", "conv_3x3"))


@pytest.mark.parametrize("size", [(4, 4), (3, 13), (7, 8), (1, 2), (16, 5)])
@pytest.mark.parametrize("side", [2, 4])
def test_grid_pooling_equals_adaptive_average_pooling(side: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=torch.channels_last)
    torch.testing.assert_close(GridPool2d(side)(x), nn.AdaptiveAvgPool2d(side)(x), **EXACT)


@torch.no_grad()
def test_a_plain_network_equals_its_formula() -> None:
    torch.manual_seed(0)
    blocks = ("conv_3x3", "skip_connect", "conv_5x5", "skip_connect", "conv_3x3", "skip_connect")
    net = Network(Genotype(blocks), channels=4, skeleton="plain", classes=5).double().eval()
    x = y = torch.randn(2, 3, 21, 32, dtype=torch.float64)
    for layers in (net.stem, *(net.blocks[n][-1] for n in (0, 2, 4))):
        kernel, norm = layers[0].weight, layers[1]
        if layers is not net.stem:
            y = F.max_pool2d(y, 2, ceil_mode=True)
        y = F.conv2d(y, kernel, padding=kernel.shape[-1] // 2)
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    assert y.shape == (2, 16, 3, 4)
    output = net.head[-1]
    expected = F.adaptive_avg_pool2d(y, 4).flatten(1) @ output.weight.t() + output.bias
    torch.testing.assert_close(net(x), expected, **EXACT)


def test_a_genotype_with_a_convolution_needs_the_skeleton() -> None:
    assert space_of(DEEP) == Macro(channels=64, cells=2, skeleton="plain")
    with pytest.raises(ValueError, match="unknown operation 'conv_3x3'"):
        Macro(channels=4, cells=2).network(DEEP, classes=4, in_channels=3)
