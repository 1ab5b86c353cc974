"""The macro space: skeletons, drop path, errors, supernets, and networks that train fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images, mixing
from torch import Tensor, nn

from darts.spaces import parse_genotype, space_of
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.fast_layers import (
    MAX_COMPONENTS,
    VARIANCE_FLOOR,
    GridPool2d,
    MaxClassifier,
    WhitenedPatches,
)
from darts.spaces.macro.genotype import PRIMITIVES
from darts.spaces.macro.skeleton import (
    SKELETONS,
    BlockPlan,
    InvertedResidual,
    make_operation,
    plan_blocks,
)
from darts.spaces.macro.space import Network
from darts.spaces.macro.supernet import MixedBlock, Supernet
from darts.spaces.mixture import Mixture
from darts.training.cost import count_macs, count_parameters

DEPTHS = (2, 3, 3)
OPERATIONS = {"1": "mb_k3_e3", "2": "mb_k5_e6"}
# Published rows: digits of the blocks, parameters, MACs.
ROWS = [
    ("00000000", 387_882, 7_713_280),
    ("11111111", 1_588_874, 53_246_464),
    ("22222222", 2_932_586, 105_660_928),
    ("22212220", 1_985_514, 85_164_544),
    ("01201201", 1_283_434, 46_109_184),
    ("20110221", 2_064_170, 57_491_968),
]
SMALL = Macro(channels=4, skeleton="nasbench")


def genotype(digits: str) -> Genotype:
    blocks = [
        OPERATIONS.get(digit, "conv_1x1" if position in (0, 2, 5) else "skip_connect")
        for position, digit in enumerate(digits)
    ]
    return Genotype(tuple(blocks), DEPTHS)


@pytest.mark.parametrize(("digits", "parameters", "macs"), ROWS)
def test_networks_have_the_published_size(digits: str, parameters: int, macs: int) -> None:
    space = Macro(channels=64, skeleton="nasbench")
    net = space.network(genotype(digits), classes=10, in_channels=3)
    assert count_parameters(net.parameters()) == parameters
    assert count_macs(net, torch.zeros(1, 3, 32, 32)) == macs


def test_activation_and_least_width() -> None:
    net = Macro(channels=64, skeleton="nasbench").supernet(classes=10, in_channels=3)
    kinds = {type(module) for module in net.modules()}
    assert torch.nn.ReLU in kinds
    assert torch.nn.ReLU6 not in kinds
    assert next(plan_blocks(1, 4, net.plans[0].skeleton)).inputs == 1  # no width of 0


def test_the_canonical_form_ignores_the_position_of_skipped_blocks() -> None:
    one, same, other = (genotype(row).canonical() for row in ("10201002", "10210020", "10201012"))
    assert one == same != other


def test_the_reference_size_is_that_of_the_benchmark() -> None:
    assert space_of(genotype("22212220")) == Macro(channels=64, cells=3, skeleton="nasbench")


def test_drop_path_drops_only_residual_branches() -> None:
    torch.manual_seed(0)
    plan = BlockPlan(3, 3, 1, "rest", 0)
    block = InvertedResidual(plan, 3, 3)
    x = torch.randn(1, 3, 5, 5).expand(4000, -1, -1, -1)
    whole, dropped = block(x), block(x, 0.25)
    is_dropped = (dropped == x).flatten(1).all(1)
    share = float(is_dropped.float().mean())
    assert share == pytest.approx(0.25, abs=0.035)  # five standard deviations
    torch.testing.assert_close(dropped[~is_dropped], (x + (whole - x) / 0.75)[~is_dropped])
    wide = InvertedResidual(plan._replace(outputs=6), 3, 3)  # has no residual connection
    assert torch.equal(wide(x[:9], 0.9), wide(x[:9]))
    block.eval()
    assert torch.equal(block(x[:9], 0.9), block(x[:9]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: SMALL.network(Genotype(("mb_k3_e3",) * 9), classes=4, in_channels=3),
            "space.skeleton=nasbench: the stages of the genotype have 3, 3, 3 blocks, not 2, 3, 3",
        ),
        (
            lambda: Macro(cells=2).encode(Genotype(("mb_k3_e3",) * 3)),
            "have 1, 1, 1 blocks, not 2, 2, 2; set space.cells=1",
        ),
        (
            lambda: SMALL.encode(Genotype(("mb_k7_e3",) * 8, DEPTHS)),
            "mb_k7_e3 is not a candidate of block0; choose from mb_k3_e3",
        ),
        (
            lambda: SMALL.network(Genotype(("mb_k7_e3",) * 8, DEPTHS), classes=4, in_channels=3),
            "mb_k7_e3 is not a candidate of a block of the group first; choose from mb_k3_e3, ",
        ),
        (lambda: Genotype(("mb_k3_e3", "conv_1x1") * 3), "begin a stage and cannot be conv_1x1"),
        (
            lambda: Genotype(("mb_k3_e3", "skip_connect") * 4, DEPTHS),
            "block 5 begins a stage and cannot be skip_connect",
        ),
        (lambda: Genotype(("mb_k3_e3",) * 8, (2, 6)), "the stages have 2, 6 blocks; 3 stages of"),
        (
            lambda: parse_genotype('{"space": "macro", "blocks": [["mb_k3_e3"], "mb_k3_e3", 1]}'),
            "unknown operation",
        ),
    ],
    ids=range(8),
)
def test_errors_are_one_line_and_name_the_remedy(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


class EdgewiseBlock(MixedBlock):
    """All candidates of one block; none of them runs together with others."""

    def inverted_residuals(self, active: Sequence[int]) -> dict[int, InvertedResidual]:
        return {}


class EdgewiseSupernet(Supernet):
    """The oracle of ``Supernet``, with the same state dicts and initial weights."""

    block_class = EdgewiseBlock


CLASSES = 4


def make(cells: int = 2) -> Supernet:
    torch.manual_seed(0)
    return Macro(channels=2, cells=cells).supernet(classes=CLASSES).double()


def by_definition(net: Supernet, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Compute the supernet with functions of PyTorch, candidate by candidate."""

    def norm(x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)

    x = F.relu6(norm(F.conv2d(x, net.stem[0].weight, padding=1)))
    rows = {"first": 0, "rest": 0}
    for number, block in enumerate(net.blocks):
        group = "first" if number % (len(net.blocks) // 3) == 0 else "rest"
        stride = 2 if group == "first" and number else 1
        total: Any = 0
        for column, name in enumerate(PRIMITIVES if group == "rest" else PRIMITIVES[:-1]):
            if name == "skip_connect":
                y = x
            else:
                kernel = int(name[4])
                state = dict(block.operations[column].named_parameters())
                y = F.relu6(norm(F.conv2d(x, state["layers.0.weight"])))
                assert y.shape[1] == int(name[7]) * x.shape[1]
                depthwise = state["layers.3.weight"]
                assert depthwise.shape[2:] == (kernel, kernel)
                y = F.conv2d(y, depthwise, None, stride, kernel // 2, groups=y.shape[1])
                y = norm(F.conv2d(F.relu6(norm(y)), state["layers.6.weight"]))
                y = y + x if y.shape == x.shape else y
            total = total + weights[group][rows[group], column] * y
        rows[group] += 1
        x = total
    x = F.relu6(norm(F.conv2d(x, net.head[0].weight)))
    return F.linear(x.mean((2, 3)), net.head[5].weight, net.head[5].bias)


def test_the_output_is_the_weighted_sum_of_the_candidates() -> None:
    net, x = make(3), images(3, 3, 7, 10)
    weights = mixing(net)
    torch.testing.assert_close(net(x, weights), by_definition(net, x, weights), **EXACT)


@pytest.mark.parametrize("skip_dropout", [0.0, 0.4])
@pytest.mark.parametrize("skeleton", SKELETONS)
def test_outputs_gradients_and_buffers_equal_the_oracle(skeleton: str, skip_dropout: float) -> None:
    x, results = images(4, 3, 9, 12), []
    for net_class in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        space = Macro(channels=4, cells=2, skeleton=skeleton)
        net = net_class(space, classes=CLASSES).double()
        net.skip_dropout = skip_dropout
        for _ in range(2):  # the second pass changes running statistics that differ
            net(x).square().sum().backward()
        parameters = {name: p.grad for name, p in net.named_parameters()}
        results.append({"output": net(x), **parameters, **dict(net.named_buffers())})
    expected, actual = results
    assert list(actual) == list(expected)
    torch.testing.assert_close(actual, expected, **EXACT)


def test_inactive_blocks_do_not_run() -> None:
    net, x = make(3).eval(), images(2, 3, 6, 6)  # in training, blocks run together
    generator = torch.Generator().manual_seed(5)
    active = {g: torch.rand(s, generator=generator) < 0.5 for g, s in net.shapes.items()}
    ran: list[str] = []
    for name, module in net.named_modules():
        if isinstance(module, InvertedResidual):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    net(x, Mixture(mixing(net), active=active))
    blocks = len(PRIMITIVES) - 1  # without skip_connect
    assert len(ran) == sum(int(mask[:, :blocks].sum()) for mask in active.values())


def test_a_block_without_active_candidates_outputs_zeros() -> None:
    net, x = make(), images(2, 3, 7, 6)
    active = {"first": torch.ones(3, 6) > 0, "rest": torch.ones(3, 7) > 0}
    active["first"][1] = False  # of stride 2
    weights = mixing(net)
    actual = net(x, Mixture(weights, active=active))
    weights["first"][1] = 0
    torch.testing.assert_close(actual, net(x, weights), **EXACT)


def test_skip_dropout_acts_only_in_training() -> None:
    net, x = make(), images(3, 3, 8, 8)
    skips = mixing(net)
    skips["rest"] = F.one_hot(torch.tensor([6, 6, 6]), 7).double()
    blocks = {**skips, "rest": F.one_hot(torch.tensor([0, 2, 4]), 7).double()}
    kept = [net(x, skips), net(x, blocks)]
    net.skip_dropout = 0.5
    assert not torch.allclose(net(x, skips), kept[0])
    torch.testing.assert_close(net(x, blocks), kept[1], **EXACT)
    net.eval()
    assert torch.equal(net(x, skips), net(x, skips))


def smooth_images(count: int, channels: int, size: tuple[int, int]) -> Tensor:
    """Return images whose neighboring pixels and channels are correlated."""
    noise = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 3, stride=1, padding=1) + 0.5 * noise.mean(1, keepdim=True)
    return smooth + 0.1 * noise


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_whitened_patches_have_unit_variance_up_to_the_floor(channels: int) -> None:
    """Patches that do not overlap, as those of ``fit``, are uncorrelated after the filters."""
    torch.manual_seed(0)
    layer, x = WhitenedPatches(channels), smooth_images(200, channels, (8, 8))
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
    layer, x = WhitenedPatches(3), smooth_images(2, 3, (5, 7))
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
    x, shared = smooth_images(2, inputs, (5, 6)), min(inputs, outputs)
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
    blocks = ("conv_3x3", "res_3x3", "conv_5x5", "convnext_k7", "conv_3x3", "attention")
    net = Network(Genotype(blocks), channels=4, skeleton="fast_grid", classes=5).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    x = torch.randn(2, 3, 21, 32, dtype=torch.float64)
    y = net.stem(x)
    for start, block in ((0, "res_3x3"), (2, "convnext_k7"), (4, "attention")):
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
        if block == "attention":
            norm, attention = net.blocks[start + 1].layers
            oracle = nn.MultiheadAttention(16, 4, bias=False, batch_first=True).double()
            oracle.in_proj_weight.copy_(attention.project.weight[:, :, 0, 0])
            oracle.out_proj.weight.copy_(attention.out.weight[:, :, 0, 0])
            positions = normed(norm, y).flatten(2).transpose(1, 2)
            y = y + oracle(*[positions] * 3)[0].transpose(1, 2).view_as(y)
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
    ("name", "skeleton"),
    [("conv_3x3", "plain"), *((name, "fast") for name in ("res_3x3", "convnext_k7", "attention"))],
)
def test_some_operations_need_a_skeleton(name: str, skeleton: str) -> None:
    genotype = Genotype(("mb_k3_e3", name) * 3)
    assert space_of(genotype) == Macro(channels=64, cells=2, skeleton=skeleton)
    with pytest.raises(ValueError, match=f"{name} is not a candidate of"):
        Macro(channels=4, cells=2).network(genotype, classes=4, in_channels=3)
    if skeleton == "fast":
        with pytest.raises(ValueError, match=f"block 3 begins a stage and cannot be {name}"):
            Genotype(("conv_3x3", "skip_connect", "skip_connect", name, *["conv_3x3"] * 5))
