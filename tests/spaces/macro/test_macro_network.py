"""The discrete network of the macro space, and its pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.spaces.macro import Genotype, Network
from darts.spaces.macro.skeleton import BlockPlan, InvertedResidual, make_operation, plan_blocks
from darts.training.cost import count_parameters

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
