"""What a network's score loses without its edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.judging.edge_importance import Removed, has_edges, importances, without
from darts.plotting.genotype import draw_importances
from darts.spaces import cnn, macro, mlp, nas201, transformer
from darts.spaces.cnn.operations import make_operation

V2 = cnn.PUBLISHED["DARTS_V2"].genotype
TINY = {"classes": 3, "in_channels": 3, "channels": 4}


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def cell_network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return cnn.Network(V2, **TINY, cells=3, auxiliary=False).eval()


def small_network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    text = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    return nas201.Network(nas201.Genotype.parse(text), **TINY, cells=1).eval()


@pytest.mark.parametrize(("cell", "edge"), [("normal", 0), ("normal", 5), ("reduce", 0)])
def test_removing_is_having_the_operation_none_there(cell: str, edge: int) -> None:
    """Against the space's own operation ``none``, of the stride that the edge has."""
    net, other = cell_network(), cell_network()
    source = V2.edges(cell)[edge][0]
    for own in other.cells:
        if own.kind == cell:
            stride = 2 if cell == "reduce" and source < 2 else 1
            own.operations[edge] = make_operation("none", 4, stride)
    whole = net(images())
    with without(net, [(cell, edge)]):
        found = net(images())
    assert not torch.equal(found, whole)
    torch.testing.assert_close(found, other(images()))


def test_pools_that_share_their_result_are_removed_one_by_one() -> None:
    """The reduction cell of DARTS_V2 has two max pools on one state."""
    edges = V2.edges("reduce")
    twins = [i for i, e in enumerate(edges) if e[0] == 0 and e[2] == "max_pool_3x3"]
    assert len(twins) > 1
    net = cell_network()
    answers = []
    for removed in ([twins[0]], [twins[1]], twins):
        with without(net, [("reduce", edge) for edge in removed]):
            answers.append(net(images()))
    assert not torch.allclose(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])


def chain_network(seed: int = 0) -> Any:
    """Two stages begin with a block that changes width, which nothing goes around."""
    torch.manual_seed(seed)
    blocks = ("mb_k3_e3", "mb_k5_e3", "mb_k3_e6", "skip_connect", "mb_k3_e3", "mb_k3_e3")
    return macro.Network(macro.Genotype(blocks), **TINY).eval()


def text_network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    blocks = (("attention_2", "relu_1"), ("conv_3", "gelu_2"), ("identity", "relu_2"))
    size = transformer.Size(width=8)
    return transformer.Network(transformer.Genotype(blocks), 11, size=size).eval()


def words() -> Tensor:
    return torch.randint(11, (6, 3), generator=torch.Generator().manual_seed(1))


def said(net: Any) -> Tensor:
    """What a network says of some input that it takes."""
    return net(words()).logits if isinstance(net, transformer.Network) else net(images())


@pytest.mark.parametrize(("edge", "last"), [(0, "out.weight"), (2, "kernel"), (5, "down.weight")])
def test_a_layer_of_a_transformer_that_is_removed_adds_nothing(edge: int, last: str) -> None:
    """Against weights of its last map that are zero."""
    net, other = text_network(), text_network()
    block = other.blocks[edge // 2]
    layer = block.feed_forward if edge % 2 else block.mixer
    with torch.no_grad():
        layer.get_parameter(last).zero_()
    whole = said(net)
    with without(net, [("blocks", edge)]):
        found = said(net)
    assert not torch.equal(found, whole)
    torch.testing.assert_close(found, said(other))


@pytest.mark.parametrize("edge", [0, 1, 5])
def test_a_block_that_is_removed_passes_its_input_on(edge: int) -> None:
    """Against a last batch norm without scale and shift."""
    net, other = chain_network(), chain_network()
    norm = other.blocks[edge].layers[-1]
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.zero_()
    whole = said(net)
    with without(net, [("blocks", edge)]):
        found = said(net)
    assert not torch.equal(found, whole)
    torch.testing.assert_close(found, said(other))


def test_what_nothing_goes_around_is_not_removed() -> None:
    """Nor counted for its operation; and what adds nothing can be missed."""
    net = chain_network()

    def score() -> float:
        return float(said(net).sum().detach())

    found = importances(net, net.genotype, score)
    lost = [edge["lost"] for edge in found["edges"]["blocks"]]
    assert [loss is None for loss in lost] == [False, False, True, False, True, False]
    assert lost[3] == 0  # skipped
    assert set(found["operations"]) == {"mb_k3_e3", "mb_k5_e3", "skip_connect"}
    with without(net, [("blocks", 0), ("blocks", 5)]):
        rest = score()
    assert found["operations"]["mb_k3_e3"] == pytest.approx(found["score"] - rest)
    net = text_network()
    lost = [e["lost"] for e in importances(net, net.genotype, score)["edges"]["blocks"]]
    assert [loss == 0 for loss in lost] == [False, False, False, False, True, False]


@pytest.mark.parametrize("make", [cell_network, small_network, chain_network, text_network])
def test_all_is_as_before(make: Any) -> None:
    net = make()
    before, keys = said(net), list(net.state_dict())
    cell = net.genotype.cells[0]
    with pytest.raises(RuntimeError, match="halfway"), without(net, [(cell, 0), (cell, 1)]):
        raise RuntimeError("halfway")
    assert not [module for module in net.modules() if isinstance(module, Removed)]
    assert list(net.state_dict()) == keys
    assert torch.equal(said(net), before)


@pytest.mark.parametrize("better", [True, False])
def test_what_is_lost_is_the_difference(better: bool) -> None:
    net = small_network()
    target = net(images()).detach() + 1.0

    def score() -> float:
        distance = float((net(images()) - target).square().mean().detach())
        return -distance if better else distance

    found = importances(net, net.genotype, score, higher_is_better=better)
    (cell,) = net.genotype.cells
    assert found["score"] == score()
    for number, (source, target_node, operation) in enumerate(net.genotype.edges(cell)):
        own = found["edges"][cell][number]
        assert (own["source"], own["target"], own["operation"]) == (source, target_node, operation)
        if operation == "none":
            assert own["lost"] == 0
            continue
        with without(net, [(cell, number)]):
            rest = score()
        assert own["lost"] == pytest.approx((found["score"] - rest) * (1 if better else -1))
        assert own["lost"] != 0
    assert set(found["operations"]) == {e[2] for e in net.genotype.edges(cell)}
    assert found["operations"]["none"] == 0


def test_the_operation_is_still_run_for_its_shape() -> None:
    removed = Removed(nn.Conv2d(3, 5, 3, stride=2))
    assert removed(images()).shape == (2, 5, 3, 3)
    assert not removed(images()).any()


def test_edges_are_as_wide_as_they_matter() -> None:
    edges = {
        cell: [{"lost": 0.1 * number} for number in range(len(V2.edges(cell)))] for cell in V2.cells
    }
    figure = draw_importances(V2, edges, title="lost")
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


def test_a_chain_is_drawn_by_what_is_lost() -> None:
    genotype = chain_network().genotype
    lost = [0.5, 0.1, None, 0.0, None, 0.25]
    figure = draw_importances(
        genotype, {"blocks": [{"lost": loss} for loss in lost]}, percent=True, title="lost"
    )
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"+50.0", "+10.0", "+0.0", "+25.0"} <= texts
    fills = {
        str(patch.get_gid()): patch.get_facecolor()
        for axes in figure.axes
        for patch in axes.patches
        if str(patch.get_gid()).endswith("-box")
    }
    green = [fills[f"blocks-0-edge-{number}-box"][1] for number in (3, 1, 5, 0)]
    assert green == sorted(green, reverse=True)  # from yellow to dark red


def test_networks_without_edges_are_known() -> None:
    assert all(map(has_edges, (cell_network(), chain_network(), text_network())))
    layers = mlp.Network(mlp.Genotype(("relu_16",)))
    assert not any(map(has_edges, (nn.Linear(2, 2), layers)))
