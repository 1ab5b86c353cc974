"""The skeleton of NAS-Bench-Macro: parameters, MACs, genotypes and search."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from oracles.macro_supernet import EdgewiseSupernet

from darts.spaces import parse_genotype, space_of
from darts.spaces.macro import Genotype, Macro, Network
from darts.spaces.macro.skeleton import InvertedResidual, plan_blocks
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


def random_genotypes(count: int) -> list[Genotype]:
    generator = torch.Generator().manual_seed(0)
    return [SMALL.random(generator) for _ in range(count)]


@pytest.mark.parametrize(("digits", "parameters", "macs"), ROWS)
def test_networks_have_the_published_size(digits: str, parameters: int, macs: int) -> None:
    space = Macro(channels=64, skeleton="nasbench")
    net = space.network(genotype(digits), classes=10, in_channels=3)
    assert count_parameters(net.parameters()) == parameters
    assert count_macs(net, torch.zeros(1, 3, 32, 32)) == macs


def test_widths_strides_and_activation() -> None:
    net = Macro(channels=64, skeleton="nasbench").supernet(classes=10, in_channels=3)
    assert [(plan.inputs, plan.outputs, plan.stride) for plan in net.plans] == [
        *((32, 64, 2), (64, 64, 1)),
        *((64, 128, 2), (128, 128, 1), (128, 128, 1)),
        *((128, 256, 2), (256, 256, 1), (256, 256, 1)),
    ]
    assert net.head[0].weight.shape == (1280, 256, 1, 1)
    kinds = {type(module) for module in net.modules()}
    assert torch.nn.ReLU in kinds
    assert torch.nn.ReLU6 not in kinds
    assert next(plan_blocks(1, 4, net.plans[0].skeleton)).inputs == 1  # no width of 0


def test_groups_and_candidates() -> None:
    net = SMALL.supernet(classes=4, in_channels=3)
    assert net.shapes == {"first": (3, 3), "rest": (5, 3)}
    assert net.candidates["first"] == (("mb_k3_e3", "mb_k5_e6", "conv_1x1"),) * 3
    assert net.candidates["rest"] == (("mb_k3_e3", "mb_k5_e6", "skip_connect"),) * 5
    assert net.edges["first"] == ((0, 1), (2, 3), (5, 6))
    assert sorted(net.edges["first"] + net.edges["rest"]) == [(i, i + 1) for i in range(8)]
    assert Macro(cells=9, skeleton="nasbench").supernet(classes=4, in_channels=3).shapes == (
        net.shapes
    )
    # A skipped block has no weights, a projection does.
    assert {name for name in net.operation_rows() if name.startswith(("2.", "3."))} == {
        *("2.mb_k3_e3", "2.mb_k5_e6", "2.conv_1x1", "3.mb_k3_e3", "3.mb_k5_e6")
    }


def test_the_space_has_6561_architectures_and_a_benchmark() -> None:
    sizes = [len(parameter.domain.grid(9)) for parameter in SMALL.parameters()]
    assert sizes == [3] * 8
    assert SMALL.benchmark == "macro"
    assert Macro().benchmark is None


def test_points_masks_and_text_can_be_inverted() -> None:
    candidates = SMALL.supernet(classes=4, in_channels=3).candidates
    seen = set()
    for drawn in random_genotypes(60):
        assert drawn.depths == DEPTHS
        assert SMALL.decode(SMALL.encode(drawn)) == drawn
        probabilities = {g: m.double() for g, m in SMALL.mask(drawn, candidates).items()}
        assert SMALL.derive(probabilities, candidates) == drawn
        for text in (str(drawn), drawn.to_json()):
            assert parse_genotype(text) == drawn
        seen |= set(enumerate(drawn.blocks))
    assert len(seen) == 8 * 3  # every candidate of every block
    assert json.loads(str(genotype("01201201")))["blocks"] == [
        ["conv_1x1", "mb_k3_e3"],
        ["mb_k5_e6", "skip_connect", "mb_k3_e3"],
        ["mb_k5_e6", "skip_connect", "mb_k3_e3"],
    ]


def test_same_as_ignores_the_position_of_skipped_blocks() -> None:
    assert genotype("10201002").same_as(genotype("10210020"))
    assert not genotype("10201002").same_as(genotype("10201012"))


def test_the_reference_size_is_that_of_the_benchmark() -> None:
    assert space_of(genotype("22212220")) == Macro(channels=64, cells=3, skeleton="nasbench")


@pytest.mark.parametrize("training", [True, False])
def test_one_hot_weights_equal_the_discrete_network(training: bool) -> None:
    torch.manual_seed(0)
    net = EdgewiseSupernet(channels=4, skeleton="nasbench", classes=4).double()
    drawn = genotype("01200210")
    discrete = Network(drawn, channels=4, skeleton="nasbench", classes=4).double()
    state = discrete.state_dict()
    for name, value in net.state_dict().items():
        words = name.split(".")
        if words[0] == "blocks":
            position, column = int(words[1]), int(words[3])
            if net.plans[position].candidates[column] == drawn.blocks[position]:
                state[".".join([*words[:2], *words[4:]])] = value
        elif words[0] != "alphas":
            state[name] = value
    discrete.load_state_dict(state)
    x = torch.randn(3, 3, 9, 11, dtype=torch.float64)
    one_hot = {g: mask.double() for g, mask in SMALL.mask(drawn, net.candidates).items()}
    actual = discrete.train(training)(x)
    torch.testing.assert_close(actual, net.train(training)(x, one_hot), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_parameters_and_macs_of_pieces_add_up(seed: int) -> None:
    drawn = random_genotypes(3)[seed]
    masks = SMALL.mask(drawn, SMALL.supernet(classes=7, in_channels=2).candidates)
    parameters = macs = 0
    for piece in SMALL.pieces(classes=7, sample_shape=(2, 9, 13)):
        group, row, column = piece.place or ("", 0, 0)
        if not group or masks[group][row, column]:
            module = piece.make()
            parameters += count_parameters(module.parameters())
            macs += count_macs(module, torch.zeros(1, *piece.shape))
    net = SMALL.network(drawn, classes=7, in_channels=2)
    assert parameters == count_parameters(net.parameters())
    assert macs == count_macs(net, torch.zeros(1, 2, 9, 13))


def test_only_blocks_with_a_bypass_can_be_left_out() -> None:
    net = SMALL.network(genotype("01210100"), classes=4, in_channels=3)
    removable = [net.edge_modules("blocks", position) for position in range(8)]
    assert [None if found is None else len(found) for found in removable] == [
        *(None, 1),  # a projection, a block with a bypass
        *(None, 1, 0),  # a block that changes the width, one with a bypass, a skipped one
        *(None, 0, 0),
    ]
    assert isinstance(net.blocks[1], InvertedResidual)


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
        (lambda: Macro().encode(genotype("0" * 8)), "set space.skeleton=nasbench"),
        (lambda: SMALL.encode(Genotype(("mb_k3_e3",) * 9)), "have 3, 3, 3 blocks, not 2, 3, 3"),
        (
            lambda: SMALL.encode(Genotype(("mb_k7_e3",) * 8, DEPTHS)),
            "mb_k7_e3 is not a candidate of a block of the group first",
        ),
        (
            lambda: SMALL.network(Genotype(("mb_k7_e3",) * 8, DEPTHS), classes=4, in_channels=3),
            "unknown operation 'mb_k7_e3' of a block of the group first; choose from mb_k3_e3, ",
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
        (lambda: Genotype(("mb_k3_e3",) * 8, (0, 4, 4)), "the stages have 0, 4, 4 blocks"),
        (
            lambda: parse_genotype('{"space": "macro", "blocks": [["mb_k3_e3"], [], []]}'),
            "the stages have 1, 0, 0 blocks",
        ),
        (
            lambda: parse_genotype('{"space": "macro", "blocks": [["mb_k3_e3"], "mb_k3_e3", 1]}'),
            "unknown operation",
        ),
    ],
    ids=range(12),
)
def test_errors_are_one_line_and_name_the_remedy(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
