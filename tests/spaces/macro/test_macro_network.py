"""The discrete network of the macro space, and its pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.spaces.macro import PRIMITIVES, Genotype, Macro, Network
from darts.spaces.macro.skeleton import BlockPlan, InvertedResidual, make_operation, plan_blocks
from darts.training.cost import count_macs, count_parameters

BLOCKS = ("mb_k3_e3", "skip_connect", "mb_k5_e6", "mb_k7_e3", "mb_k3_e6", "mb_k7_e6")


def test_widths_and_strides() -> None:
    plans = list(plan_blocks(16, 3))
    assert [(p.inputs, p.outputs, p.stride) for p in plans if p.group == "first"] == [
        (16, 16, 1),
        (16, 32, 2),
        (32, 64, 2),
    ]
    assert [(p.inputs, p.outputs, p.stride, p.row) for p in plans if p.group == "rest"] == [
        (width, width, 1, row) for row, width in enumerate((16, 16, 32, 32, 64, 64))
    ]


def test_number_of_weights_of_an_inverted_residual_block() -> None:
    # A pointwise convolution up, a depthwise one, a pointwise one down; scale and shift per norm.
    inputs, outputs, kernel, hidden = 4, 8, 5, 24
    block = InvertedResidual(inputs, outputs, 2, kernel=kernel, expansion=6)
    expected = inputs * hidden + kernel**2 * hidden + hidden * outputs + 2 * (2 * hidden + outputs)
    assert count_parameters(block.parameters()) == expected
    assert block(torch.randn(2, inputs, 7, 10)).shape == (2, outputs, 4, 5)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (32, 32)])
def test_any_image_size(size: tuple[int, int]) -> None:
    net = Network(Genotype(BLOCKS), channels=2, classes=4, in_channels=1)
    x = torch.randn(2, 1, *size)
    assert net(x).shape == (2, 4)
    logits, auxiliary_logits = net.eval()(x, auxiliary=True)
    assert auxiliary_logits is None
    assert torch.equal(logits, net(x))


def test_skipped_blocks_have_no_layers() -> None:
    skipped = Network(Genotype(BLOCKS), channels=2)
    whole = Network(Genotype(("mb_k3_e3", *BLOCKS[:1], *BLOCKS[2:])), channels=2)
    more = count_parameters(whole.parameters()) - count_parameters(skipped.parameters())
    plan = BlockPlan(2, 2, 1, "rest", 0)
    assert more == count_parameters(make_operation("mb_k3_e3", plan).parameters())


def test_drop_path_drops_only_residual_branches() -> None:
    torch.manual_seed(0)
    block = InvertedResidual(3, 3, 1, kernel=3, expansion=3)
    x = torch.randn(1, 3, 5, 5).expand(4000, -1, -1, -1)
    whole, dropped = block(x), block(x, 0.25)
    is_dropped = (dropped == x).flatten(1).all(1)
    share = float(is_dropped.float().mean())
    assert share == pytest.approx(0.25, abs=0.035)  # five standard deviations
    torch.testing.assert_close(dropped[~is_dropped], (x + (whole - x) / 0.75)[~is_dropped])
    wide = InvertedResidual(3, 6, 1, kernel=3, expansion=3)  # has no residual connection
    assert torch.equal(wide(x[:9], 0.9), wide(x[:9]))
    block.eval()
    assert torch.equal(block(x[:9], 0.9), block(x[:9]))


def test_drop_path_draws_for_the_whole_batch() -> None:
    net = Network(Genotype(("mb_k3_e3",) * 3), channels=2, drop_path=0.5)
    block: Any = net.blocks[0]
    for norm in block.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum, norm.training = 0.0, False
    x = torch.randn(6, 2, 5, 5)
    torch.manual_seed(1)
    together = block(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(block(x[2:4], 0.5, (2, 6)), together[2:4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels=0: must be an integer >= 1"),
        ({"drop_path": 1.0}, "drop_path=1.0: must be >= 0 and < 1"),
        ({"auxiliary": True}, "networks of the macro space have no auxiliary head"),
    ],
)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network(Genotype(BLOCKS), **options)


def test_operations_of_other_groups_are_rejected() -> None:
    first, *_ = plan_blocks(4, 2)
    with pytest.raises(ValueError, match="unknown operation 'skip_connect' of a block of the gro"):
        make_operation("skip_connect", first)


@pytest.mark.parametrize(("seed", "sides"), [(0, (8, 8)), (1, (9, 13)), (2, (32, 32))])
def test_parameters_and_macs_of_pieces_add_up(seed: int, sides: tuple[int, int]) -> None:
    space = Macro(channels=4, cells=3)
    genotype = space.random(torch.Generator().manual_seed(seed))
    net = space.network(genotype, classes=7, in_channels=2)
    masks = Macro().mask(genotype, space.supernet(classes=7, in_channels=2).candidates)
    parameters = macs = candidates = 0
    for piece in space.pieces(classes=7, sample_shape=(2, *sides)):
        candidates += piece.place is not None
        if piece.place is not None:
            group, row, column = piece.place
            if not masks[group][row, column]:
                continue
        module = piece.make()
        parameters += count_parameters(module.parameters())
        macs += count_macs(module, torch.zeros(1, *piece.shape))
    assert candidates == 3 * 6 + 6 * len(PRIMITIVES)
    assert parameters == count_parameters(net.parameters())
    assert macs == count_macs(net, torch.zeros(1, 2, *sides))
