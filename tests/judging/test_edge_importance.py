"""Score drops of networks without some of their edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from darts.judging.edge_importance import ZeroOutput, edge_importances, without_edges
from darts.plotting.genotype import draw_edge_importances
from darts.spaces import cnn, macro, nas201, transformer
from darts.spaces.cnn.operations import make_operation
from darts.spaces.macro.space import Network as MacroNetwork
from darts.spaces.nas201.network import Network as Nas201Network

V2 = cnn.PUBLISHED["DARTS_V2"].genotype
TINY = {"classes": 3, "in_channels": 3, "channels": 4}


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def cell_network() -> Any:
    torch.manual_seed(0)
    return cnn.Network(V2, **TINY, cells=3, auxiliary=False).eval()


def small_network() -> Any:
    torch.manual_seed(0)
    text = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    return Nas201Network(nas201.Genotype.parse(text), **TINY, cells=1).eval()


def chain_network() -> Any:
    """Return a chain in which two blocks change the width, so that they cannot be bypassed."""
    torch.manual_seed(0)
    blocks = ("mb_k3_e3", "mb_k5_e3", "mb_k3_e6", "skip_connect", "mb_k3_e3", "mb_k3_e3")
    return MacroNetwork(macro.Genotype(blocks), **TINY).eval()


def text_network() -> Any:
    torch.manual_seed(0)
    blocks = (("attention_2", "relu_1"), ("conv_3", "gelu_2"), ("identity", "relu_2"))
    config = transformer.ModelConfig(width=8)
    return transformer.Network(transformer.Genotype(blocks), 11, config=config).eval()


def outputs_of(net: Any) -> Tensor:
    """Return the outputs of a network for an input of its type."""
    if not isinstance(net, transformer.Network):
        return net(images())
    return net(torch.randint(11, (6, 3), generator=torch.Generator().manual_seed(1))).logits


def require_equal_without(net: Any, edge: tuple[str, int], other: Any) -> None:
    """Check that a network without an edge has the outputs of another network, and new ones."""
    whole = outputs_of(net)
    with without_edges(net, [edge]):
        found = outputs_of(net)
    assert not torch.equal(found, whole)
    torch.testing.assert_close(found, outputs_of(other))


@pytest.mark.parametrize(("cell", "edge"), [("normal", 0), ("normal", 5), ("reduce", 0)])
def test_a_removed_edge_equals_the_operation_none(cell: str, edge: int) -> None:
    net, other = cell_network(), cell_network()
    source = V2.edges(cell)[edge][0]
    for own in other.cells:
        if own.group == cell:
            stride = 2 if cell == "reduce" and source < 2 else 1
            own.operations[edge] = make_operation("none", 4, stride)
    require_equal_without(net, (cell, edge), other)


@pytest.mark.parametrize(("edge", "last"), [(0, "out.weight"), (2, "kernel"), (5, "down.weight")])
def test_a_removed_transformer_layer_adds_zeros(edge: int, last: str) -> None:
    net, other = text_network(), text_network()
    block = other.blocks[edge // 2]
    layer = block.feed_forward if edge % 2 else block.mixer
    with torch.no_grad():
        layer.get_parameter(last).zero_()
    require_equal_without(net, ("blocks", edge), other)


@pytest.mark.parametrize("edge", [0, 1, 5])
def test_a_removed_block_passes_its_input_on(edge: int) -> None:
    net, other = chain_network(), chain_network()
    norm = other.blocks[edge].layers[-1]
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.zero_()
    require_equal_without(net, ("blocks", edge), other)


def test_edges_without_a_bypass_have_no_score_drop() -> None:
    """They do not count for their operation either. Identities have a drop of 0."""
    net = chain_network()

    def score() -> float:
        return float(outputs_of(net).sum().detach())

    found = edge_importances(net, score)
    drops = [edge["score_drop"] for edge in found["edges"]["blocks"]]
    assert [drop is None for drop in drops] == [False, False, True, False, True, False]
    assert drops[3] == 0  # identity
    assert set(found["operations"]) == {"mb_k3_e3", "mb_k5_e3", "skip_connect"}
    with without_edges(net, [("blocks", 0), ("blocks", 5)]):
        reduced = score()
    assert found["operations"]["mb_k3_e3"] == pytest.approx(found["score"] - reduced)
    net = text_network()
    drops = [e["score_drop"] for e in edge_importances(net, score)["edges"]["blocks"]]
    assert [drop == 0 for drop in drops] == [False, False, False, False, True, False]


@pytest.mark.parametrize("make", [cell_network, small_network, chain_network, text_network])
def test_edges_are_restored_after_an_exception(make: Any) -> None:
    net = make()
    before, keys = outputs_of(net), list(net.state_dict())
    cell = net.genotype.cells[0]
    with pytest.raises(RuntimeError, match="halfway"), without_edges(net, [(cell, 0), (cell, 1)]):
        raise RuntimeError("halfway")
    assert not [module for module in net.modules() if isinstance(module, ZeroOutput)]
    assert list(net.state_dict()) == keys
    assert torch.equal(outputs_of(net), before)


@pytest.mark.parametrize("better", [True, False])
def test_the_score_drop_is_the_difference_of_scores(better: bool) -> None:
    net = small_network()
    target = net(images()).detach() + 1.0

    def score() -> float:
        distance = float((net(images()) - target).square().mean().detach())
        return -distance if better else distance

    found = edge_importances(net, score, higher_is_better=better)
    (cell,) = net.genotype.cells
    assert found["score"] == score()
    for number, (source, target_node, operation) in enumerate(net.genotype.edges(cell)):
        own = found["edges"][cell][number]
        assert (own["source"], own["target"], own["operation"]) == (source, target_node, operation)
        if operation == "none":
            assert own["score_drop"] == 0
            continue
        with without_edges(net, [(cell, number)]):
            reduced = score()
        assert own["score_drop"] == pytest.approx(
            (found["score"] - reduced) * (1 if better else -1)
        )
        assert own["score_drop"] != 0
    assert set(found["operations"]) == {e[2] for e in net.genotype.edges(cell)}
    assert found["operations"]["none"] == 0


def test_important_edges_are_drawn_wider() -> None:
    edges = {
        cell: [{"score_drop": 0.1 * number} for number in range(len(V2.edges(cell)))]
        for cell in V2.cells
    }
    figure = draw_edge_importances(V2, edges, title="drop")
    widths = {
        patch.get_gid(): patch.get_linewidth()
        for axes in figure.axes
        for patch in axes.patches
        if str(patch.get_gid()).endswith("-curve")
    }
    own = [widths[f"normal-0-edge-{number}-curve"] for number in range(8)]
    assert own == sorted(own)
    assert own[7] > 2 * own[0]
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "+0.700" in texts
