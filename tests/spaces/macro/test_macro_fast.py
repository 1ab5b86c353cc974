"""The skeletons ``fast``, ``fast_grid`` and ``plain``: layers, formulas and genotypes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT
from torch import Tensor, nn

from darts.spaces import space_of
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.fast_layers import (
    MAX_COMPONENTS,
    VARIANCE_FLOOR,
    GridPool2d,
    MaxClassifier,
    WhitenedPatches,
)
from darts.spaces.macro.skeleton import SKELETONS, BlockPlan, make_operation
from darts.spaces.macro.space import Network


def images(count: int, channels: int, size: tuple[int, int]) -> Tensor:
    """Return images whose neighboring pixels and channels are correlated."""
    noise = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 3, stride=1, padding=1) + 0.5 * noise.mean(1, keepdim=True)
    return smooth + 0.1 * noise


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_whitened_patches_have_unit_variance_up_to_the_floor(channels: int) -> None:
    """Patches that do not overlap, as those of ``fit``, are uncorrelated after the filters."""
    torch.manual_seed(0)
    layer, x = WhitenedPatches(channels), images(200, channels, (8, 8))
    layer.whiten(x)
    count = min(4 * channels, MAX_COMPONENTS)
    assert layer.weight.shape == (2 * count, channels, 2, 2)
    assert torch.equal(layer.weight[:count], -layer.weight[count:])
    patches = F.conv2d(x.double(), layer.weight[:count].double(), stride=2)
    covariance = torch.cov(patches.transpose(0, 1).flatten(1))
    inputs = F.unfold(x.double(), 2, stride=2).transpose(1, 2).flatten(0, 1)
    variances = torch.linalg.eigvalsh(torch.cov(inputs.t())).flip(0)[:count]
    expected = torch.diag(variances / (variances + VARIANCE_FLOOR))
    torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-4)
    assert expected.max() > 0.99  # unit variance


def test_whitened_patches_keep_the_size_and_have_a_learned_bias() -> None:
    layer, x = WhitenedPatches(3), images(2, 3, (5, 7))
    with torch.no_grad():
        layer.bias.copy_(torch.linspace(-1, 1, 24))
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), layer.weight) + layer.bias[:, None, None]
    assert layer(x).shape == (2, 24, 5, 7)
    torch.testing.assert_close(layer(x), F.gelu(expected))
    assert [name for name, _ in layer.named_parameters()] == ["bias"]


@pytest.mark.parametrize("x", [torch.zeros(1, 3, 2, 2), torch.ones(9, 3, 6, 6)])
def test_images_without_different_patches_give_finite_filters(x: Tensor) -> None:
    layer = WhitenedPatches(3)
    layer.whiten(x)
    assert layer.weight.isfinite().all()


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (7, 11), (1, 2), (8, 8)])
@pytest.mark.parametrize("side", [1, 3])
def test_the_classifier_equals_adaptive_maximum_pooling(side: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, *size).to(memory_format=torch.channels_last)
    layer = MaxClassifier(5, 4, side)
    pooled = nn.AdaptiveMaxPool2d(side)(x).flatten(1)
    torch.testing.assert_close(layer(x), MaxClassifier.SCALE * pooled @ layer.linear.weight.t())


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 3), (2, 5), (6, 4)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_convolution_begins_as_the_identity(inputs: int, outputs: int, kernel: int) -> None:
    x, shared = images(2, inputs, (5, 6)), min(inputs, outputs)
    plan = BlockPlan(inputs, outputs, 1, "first", 0, SKELETONS["fast"])
    operation: Any = make_operation(f"conv_{kernel}x{kernel}", plan)
    y = operation[0](x)
    assert y.shape == (2, outputs, 5, 6)
    torch.testing.assert_close(y[:, :shared], x[:, :shared])
    if outputs > inputs:
        assert y[:, inputs:].std() > 0.01  # random filters


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


@torch.no_grad()
def test_a_fast_network_equals_its_formula() -> None:
    torch.manual_seed(0)
    blocks = ("conv_3x3", "res_3x3", "conv_5x5", "convnext_k7", "conv_3x3", "skip_connect")
    net = Network(Genotype(blocks), channels=4, skeleton="fast_grid", classes=5).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    x = torch.randn(2, 3, 21, 32, dtype=torch.float64)
    y = net.stem(x)
    for start, block in ((0, "res_3x3"), (2, "convnext_k7"), (4, "skip_connect")):
        conv, norm = net.blocks[start][0], net.blocks[start][2]
        y = F.conv2d(y, conv.weight, padding=conv.weight.shape[-1] // 2)
        y = F.gelu(normed(norm, F.max_pool2d(y, 2, ceil_mode=True)))
        if block == "res_3x3":
            conv, norm, _ = net.blocks[start + 1].layers
            y = y + F.gelu(normed(norm, F.conv2d(y, conv.weight, padding=1)))
        if block == "convnext_k7":
            depthwise, norm, wide, _, narrow = net.blocks[start + 1].layers
            z = normed(norm, F.conv2d(y, depthwise.weight, padding=3, groups=16))
            z = F.gelu(F.conv2d(z, wide.weight, wide.bias))
            assert z.shape[1] == 64
            y = y + F.conv2d(z, narrow.weight, narrow.bias)
    assert y.shape == (2, 16, 3, 4)
    torch.testing.assert_close(net(x), net.head(y), **EXACT)


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


@pytest.mark.parametrize(
    ("name", "skeleton"), [("conv_3x3", "plain"), ("res_3x3", "fast"), ("convnext_k7", "fast")]
)
def test_some_operations_need_a_skeleton(name: str, skeleton: str) -> None:
    genotype = Genotype(("mb_k3_e3", name) * 3)
    assert space_of(genotype) == Macro(channels=64, cells=2, skeleton=skeleton)
    with pytest.raises(ValueError, match=f"{name} is not a candidate of"):
        Macro(channels=4, cells=2).network(genotype, classes=4, in_channels=3)
    if skeleton == "fast":
        with pytest.raises(ValueError, match=f"block 3 begins a stage and cannot be {name}"):
            Genotype(("conv_3x3", "skip_connect", "skip_connect", name, *["conv_3x3"] * 5))
