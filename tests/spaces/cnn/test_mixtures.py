"""Partial channels, auxiliary skips, dropout and candidates per edge of both supernets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images
from oracles.supernet_pairs import make_pair

from darts.spaces.cnn import PRIMITIVES, EdgewiseSupernet, Supernet
from darts.spaces.mixture import Mixture


def test_auxiliary_skip_adds_the_state() -> None:
    """With auxiliary skips alone, a node is a weighted sum of states."""
    net = EdgewiseSupernet(channels=2, cells=1, nodes=2, classes=3, auxiliary_skip=True).double()
    net.eval()
    cell: Any = net.cells[0]  # a reduction cell, since cells // 3 == 0
    weights = torch.zeros(5, 9, dtype=torch.float64)
    weights[4, 8] = 0.25  # the edge from node 2 to node 3, of stride 1
    weights[0, 8] = 1.0  # from the first input to node 2
    seen = cell(*[images(2, 6, 8, 8)] * 2, Mixture({"reduce": weights}).of_cell("reduce", 0))
    node2, node3 = seen.chunk(2, dim=1)
    assert node2.any()
    torch.testing.assert_close(node3, 0.25 * node2, **EXACT)


@pytest.mark.parametrize("kind", [EdgewiseSupernet, Supernet])
def test_partial_channels_bypass_and_shuffle(kind: Any) -> None:
    net = kind(channels=8, cells=1, nodes=2, classes=3, partial=4).double().eval()
    cell: Any = net.cells[0]  # a reduction cell of 16 channels, whose bypassing channels are pooled
    nothing = Mixture({g: torch.zeros(s, dtype=torch.float64) for g, s in net.shapes.items()})
    x = images(2, 24, 8, 8)
    node = cell(x, x, nothing.of_cell("reduce", 0))[:, :16]
    states = [pre(x) for pre in (cell.preprocess0, cell.preprocess1)]
    bypassing = sum(F.max_pool2d(state[:, state.shape[1] // 4 :], 2) for state in states)
    channels = node.shape[1]
    for position in range(channels):  # shuffled channels
        source = (position % 4) * (channels // 4) + position // 4
        operated = source < channels // 4
        expected = (
            torch.zeros_like(node[:, 0]) if operated else bypassing[:, source - channels // 4]
        )
        torch.testing.assert_close(node[:, position], expected, **EXACT)


def test_partial_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="partial=3 does not divide the 16 channels"):
        Supernet(partial=3)


def test_skip_dropout_zeroes_its_share_in_training_only() -> None:
    shares = []
    for net in make_pair(cells=3, nodes=1):
        skip = torch.zeros(2, 8, dtype=torch.float64)
        skip[0, PRIMITIVES.index("skip_connect")] = 1
        cell: Any = net.cells[0]
        x = images(64, 9, 8, 8)
        whole = cell(x, x, Mixture({"normal": skip}).of_cell("normal", 0))
        torch.manual_seed(0)
        dropped = cell(x, x, Mixture({"normal": skip}).of_cell("normal", 0), 0.3)
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], whole[kept] / 0.7, rtol=1e-6, atol=1e-9)
        # The fast cell returns rectified values, which are 0 in half of the places.
        shares.append(1 - float(kept[whole != 0].double().mean()))
        cell.eval()
        again = [cell(x, x, Mixture({"normal": skip}).of_cell("normal", 0), p) for p in (0.0, 0.3)]
        assert torch.equal(*again)
        reducing: Any = net.cells[1]
        inputs = (images(2, 9, 8, 8), images(2, 3, 8, 8))
        mixture = Mixture({"reduce": skip}).of_cell("reduce", 0)
        again = [reducing(*inputs, mixture, dropout) for dropout in (0.0, 0.3)]
        assert torch.equal(*again)  # a skip connection that halves the image keeps all elements
    assert shares == pytest.approx([0.3, 0.3], abs=0.02)


def test_edges_may_have_different_candidates() -> None:
    """As in S1, each edge has two candidates of its own."""
    names = [name for name in PRIMITIVES if name != "none"]
    rows = [[names[i % 7], names[(i + 3) % 7]] for i in range(5)]
    pair = make_pair(operations={"normal": rows, "reduce": rows[::-1]})
    assert pair.slow.alphas["normal"].shape == (5, 2)
    assert pair.slow.candidates["reduce"][4] == ("max_pool_3x3", "sep_conv_3x3")
    x = images(3, 3, 9, 8)
    actual = [net(x) for net in pair]
    torch.testing.assert_close(actual[1], actual[0], **EXACT)
    assert sum(p.numel() for p in pair.slow.parameters()) == sum(
        p.numel() for p in pair.fast.parameters()
    )
