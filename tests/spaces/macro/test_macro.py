"""The macro space: skeletons, drop path, errors, and supernets that equal weighted sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images
from torch import Tensor

from darts.spaces import parse_genotype, space_of
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.genotype import PRIMITIVES
from darts.spaces.macro.skeleton import SKELETONS, BlockPlan, InvertedResidual, plan_blocks
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


def test_only_blocks_with_a_bypass_can_be_left_out() -> None:
    net = SMALL.network(genotype("01210100"), classes=4, in_channels=3)
    removable = [net.edge_modules("blocks", position) for position in range(8)]
    assert [None if found is None else len(found) for found in removable] == [
        *(None, 1),  # a projection, a block with a bypass
        *(None, 1, 0),  # a block that changes the width, one with a bypass, a skipped one
        *(None, 0, 0),
    ]
    assert isinstance(net.blocks[1], InvertedResidual)


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
            lambda: Macro().network(genotype("0" * 8), classes=4, in_channels=3),
            "space.skeleton=standard: the stages of the genotype have 2, 3, 3 blocks, not 3, 3, 3; "
            "set space.skeleton=nasbench",
        ),
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
        (
            lambda: Genotype(("mb_k3_e3", "conv_1x1") * 3),
            "block 1 does not begin a stage and cannot be conv_1x1",
        ),
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
    ids=range(9),
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


def make(cells: int = 2, **options: Any) -> Supernet:
    torch.manual_seed(0)
    return Supernet(channels=2, cells=cells, classes=CLASSES, **options).double()


def mixing(net: Supernet, seed: int = 2) -> dict[str, Tensor]:
    return {g: images(*shape, seed=seed).softmax(-1) for g, shape in net.shapes.items()}


def by_definition(net: Supernet, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Compute the supernet with functions of PyTorch, candidate by candidate."""

    def norm(x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()

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
def test_outputs_gradients_and_statistics_equal_the_oracle(
    skeleton: str, skip_dropout: float
) -> None:
    x, results = images(4, 3, 9, 12), []
    for net_class in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = net_class(channels=4, cells=2, classes=CLASSES, skeleton=skeleton).double()
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
