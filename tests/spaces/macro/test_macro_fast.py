"""The skeletons ``fast`` and ``fast_grid``: whitened patches, operations, pooling and costs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT
from torch import Tensor, nn

from darts.spaces import space_of
from darts.spaces.macro import Genotype, Macro, Network
from darts.spaces.macro.fast_layers import (
    MAX_COMPONENTS,
    VARIANCE_FLOOR,
    MaxClassifier,
    WhitenedPatches,
    dirac_conv,
)
from darts.spaces.network import fit_layers

SPACE = Macro(channels=4, cells=3, skeleton="fast")
DEEP = Genotype(
    (
        *("conv_3x3", "res_3x3", "convnext_k7"),
        *("mb_k3_e3", "conv_5x5", "skip_connect"),
        *("conv_5x5", "mb_k3_e3", "conv_3x3"),
    )
)


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
    layer.fit(x)
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
    layer.fit(x)
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
    y = dirac_conv(inputs, outputs, kernel)(x)
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


@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize("skeleton", ["fast", "fast_grid"])
def test_small_images_with_any_number_of_channels_train(skeleton: str, channels: int) -> None:
    space = Macro(channels=2, cells=3, skeleton=skeleton)
    net = space.network(DEEP, classes=4, in_channels=channels)
    x = images(4, channels, (5, 5))
    fit_layers(net, lambda: x)
    net(x).square().sum().backward()
    assert net(x).shape == (4, 4)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_drop_path_drops_the_layers_of_residual_blocks() -> None:
    torch.manual_seed(0)
    block = SPACE.network(DEEP, classes=4, in_channels=3).blocks[1]
    x = images(64, 4, (4, 4))
    y = block(x, 0.5)
    dropped = (y == x).flatten(1).all(1)
    assert 10 < dropped.sum() < 54
    assert not (block.eval()(x, 0.5) == x).flatten(1).all(1).any()


@pytest.mark.parametrize("name", ["res_3x3", "convnext_k7"])
def test_residual_operations_need_the_skeleton_and_begin_no_stage(name: str) -> None:
    with pytest.raises(ValueError, match=f"block 3 begins a stage and cannot be {name}"):
        Genotype(("conv_3x3", "skip_connect", "skip_connect", name, *["conv_3x3"] * 5))
    genotype = Genotype(("mb_k3_e3", name, "mb_k3_e3", name, "conv_3x3", name))
    assert space_of(genotype) == Macro(channels=64, cells=2, skeleton="fast")
    with pytest.raises(ValueError, match=f"unknown operation '{name}'"):
        Macro(channels=4, cells=2).network(
            Genotype(("mb_k3_e3", name) * 3), classes=4, in_channels=3
        )
