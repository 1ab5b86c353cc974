"""The skeleton of NAS-Bench-Macro, drop path, and error messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.spaces import parse_genotype, space_of
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.skeleton import BlockPlan, InvertedResidual, plan_blocks
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
