"""One-shot scores, a predictor that learns from a few truths, and the importance of edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles.comparing import slow_path_score
from oracles.nas201_supernet import EdgewiseSupernet, unfuse_state_dict
from torch import Tensor

from darts.judging.edge_importance import ZeroOutput, edge_importances, without_edges
from darts.judging.one_shot import OneShotScorer
from darts.judging.predictor import encode, predict
from darts.judging.rankings import agreement
from darts.plotting.genotype import draw_edge_importances
from darts.recipes.commands import run_command
from darts.spaces import SPACES, cnn, macro, nas201, transformer
from darts.spaces.cnn.operations import make_operation
from darts.spaces.macro.space import Network as MacroNetwork
from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.spaces.nas201.network import Network as Nas201Network
from darts.spaces.parameters import Choice, Parameter, Point, Range
from darts.training.checkpoint import load_checkpoint

SEARCH = (
    *("dataset=synthetic", "dataset.samples=96", "space=nas201", "method=random_sharing"),
    *("space.channels=2", "space.cells=1", "epochs=1", "loader.batch_size=8", "seed=3"),
    *("discretize.samples=2", "tracking.tensorboard=false", "tracking.figures=false"),
)
BATCHES = 4


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet") / "run"
    run_command("search", SEARCH, folder)
    return folder


def test_scores_match_the_calibrated_path_of_the_edgewise_supernet(searched: Path) -> None:
    scorer = OneShotScorer(searched, BATCHES)
    assert len(scorer._calibration) == BATCHES
    state = load_checkpoint(searched / "checkpoint.safetensors")["searcher"]["net"]
    for index in (15624, 77, 4321, 0):
        genotype = Genotype.from_index(index)
        found = scorer.scores(genotype)
        net = EdgewiseSupernet(channels=2, cells=1, classes=10, in_channels=3)  # the slow oracle
        net.load_state_dict(unfuse_state_dict(state))
        weights = {"cell": torch.zeros(len(EDGES), len(PRIMITIVES))}
        for row, name in enumerate(genotype.operations):
            weights["cell"][row, PRIMITIVES.index(name)] = 1
        batches = scorer._calibration, scorer._valid.epoch(0)
        accuracy, loss = slow_path_score(net, weights, *batches)
        assert found["valid_accuracy"] == pytest.approx(accuracy)
        assert found["valid_loss"] == pytest.approx(loss, rel=1e-4)
    # Scores do not depend on the genotypes scored before.
    again = scorer.scores(Genotype.from_index(15624))
    new = OneShotScorer(searched / "checkpoint.safetensors", BATCHES)
    assert again == new.scores(Genotype.from_index(15624))


def test_other_checkpoints_and_spaces_are_refused(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"judge\.checkpoint='.*no' is neither a checkpoint file"):
        OneShotScorer(tmp_path / "no", 1)
    with pytest.raises(ValueError, match="the supernet has space=nas201, the genotype space=cnn"):
        OneShotScorer(searched, 1).scores(cnn.PUBLISHED["DARTS_V2"].genotype)


COUNT, KNOWN = 120, 40


def example() -> tuple[list, list, np.ndarray]:
    """Return parameters, points and a truth that counts convolutions of nas201 cells."""
    space = SPACES["nas201"]()
    generator = torch.Generator().manual_seed(0)
    points = [space.encode(space.random(generator)) for _ in range(COUNT)]
    noise = np.random.default_rng(0).normal(size=COUNT)
    truth = np.array([sum("conv" in str(v) for v in point.values()) for point in points])
    return space.parameters(), points, truth + 0.1 * noise


def known() -> np.ndarray:
    return np.arange(COUNT) < KNOWN


def test_operations_predict_a_truth_that_depends_on_them() -> None:
    parameters, points, truth = example()
    mean, deviation = predict(parameters, points, {}, truth, known())
    assert agreement(mean[KNOWN:], truth[KNOWN:]).spearman > 0.7
    assert mean.shape == deviation.shape == (COUNT,)
    assert (deviation >= 0).all()


@pytest.mark.slow
def test_scores_predict_a_truth_that_operations_cannot() -> None:
    parameters, points, _ = example()
    truth = np.random.default_rng(1).normal(size=COUNT)
    scores = {"good": truth**3, "useless": np.random.default_rng(2).normal(size=COUNT)}
    mean, _ = predict(parameters, points, scores, truth, known())
    blind, _ = predict(parameters, points, {}, truth, known())
    assert agreement(mean[KNOWN:], truth[KNOWN:]).spearman > 0.7
    assert abs(agreement(blind[KNOWN:], truth[KNOWN:]).spearman) < 0.3


def test_numbers_are_scaled_and_choices_are_one_hot() -> None:
    space = [
        Parameter("operation", Choice(("conv", True, 1))),
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("layers", Range(1, 4, integer=True)),
    ]
    points: list[Point] = [
        {"operation": True, "rate": 1e-2, "layers": 4},
        {"operation": 1, "rate": 1e-4, "layers": 1},
    ]
    expected = [[0, 1, 0, 0.5, 1], [0, 0, 1, 0, 0]]
    np.testing.assert_allclose(encode(space, points), expected, atol=1e-6)


def test_inactive_parameters_have_a_column_of_their_own() -> None:
    space = [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("momentum", Range(0.0, 0.9), (("kind", ("sgd",)),)),
        Parameter("nesterov", Choice((True, False)), (("kind", ("sgd",)),)),
    ]
    points: list[Point] = [{"kind": "adam"}, {"kind": "sgd", "momentum": 0.9, "nesterov": True}]
    expected = [[0, 1, 0.5, 1, 0, 0, 1], [1, 0, 1, 0, 1, 0, 0]]
    np.testing.assert_allclose(encode(space, points), expected, atol=1e-6)


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
        drop = (found["score"] - reduced) * (1 if better else -1)
        assert own["score_drop"] == pytest.approx(drop)
        assert own["score_drop"] != 0
    assert set(found["operations"]) == {e[2] for e in net.genotype.edges(cell)}
    assert found["operations"]["none"] == 0


def test_important_edges_are_drawn_wider() -> None:
    edges = {cell: [{"score_drop": 0.1 * number} for number in range(8)] for cell in V2.cells}
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
