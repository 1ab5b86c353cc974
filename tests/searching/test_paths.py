"""Path scores and eigenvalues equal slow recomputations and do not change the search."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.searching.paths import path_masks, path_score
from darts.spaces import SearchContext, cnn
from darts.spaces.cnn.candidates import CANDIDATE_SETS

CALIBRATION = [make_batch(seed) for seed in (10, 11, 12)]
SCORED = [make_batch(seed, size=6) for seed in (20, 21)]


def slow_path_score(net: nn.Module, weights: dict[str, Tensor]) -> tuple[float, float]:
    """Return accuracy and loss of an edge-wise supernet with running statistics of the path."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a cumulative mean
    with torch.no_grad():
        net.train()
        for images, _ in CALIBRATION:
            net(images, weights)
        net.eval()
        pairs = [(net(images, weights), labels) for images, labels in SCORED]
    logits, labels = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    accuracy = (logits.argmax(1) == labels).float().mean()
    return float(accuracy), float(nn.functional.cross_entropy(logits, labels))


def one_hot(genotype: Any, context: SearchContext) -> dict[str, Tensor]:
    """Return mixing weights of a genotype, ``(edges, operations)`` by group."""
    weights = {}
    for group, rows in context.candidates.items():
        edges = {(source, target): name for source, target, name in genotype.edges(group)}
        pairs = zip(context.edges[group], rows, strict=True)
        values = [[float(edges.get(edge) == name) for name in names] for edge, names in pairs]
        weights[group] = torch.tensor(values)
    return weights


def test_path_scores_equal_those_of_the_edgewise_supernet() -> None:
    searcher = make_searcher("space.cells=2", "space.candidates=s2", "space.channels=2")
    searcher.begin_epoch(0)
    for seed in range(3):  # after these steps, the running statistics are those of the mixture
        searcher.arch_step(make_batch(seed), make_batch(seed + 5))
        searcher.weight_step(make_batch(seed))
    for alpha in searcher.net.alphas.values():
        nn.init.normal_(alpha)
    genotype = searcher.config.discretize.genotype(searcher.probabilities(), searcher.context)
    masks = path_masks(genotype, searcher.probabilities(), searcher.context)
    score = path_score(searcher, masks, CALIBRATION, SCORED)
    operations = CANDIDATE_SETS["s2"]
    net = cnn.EdgewiseSupernet(channels=2, cells=2, classes=3, operations=operations)
    net.load_state_dict(cnn.unfuse_state_dict(searcher.net.state_dict()))
    accuracy, loss = slow_path_score(net, one_hot(genotype, searcher.context))
    assert score["accuracy"] == pytest.approx(accuracy)
    assert score["loss"] == pytest.approx(loss, rel=1e-3)
    assert score["loss"] != pytest.approx(searcher.score(SCORED)["loss"], rel=1e-2)


def test_path_masks_keep_skipped_layers_in_their_positions() -> None:
    """The genotype of a fully connected network does not contain skipped layers."""
    searcher = make_searcher("space=mlp", "space.cells=3", "space.widths=[4]")
    with torch.no_grad():
        for alpha in searcher.net.alphas.values():
            alpha.zero_()
        searcher.net.alphas["first"][0, 0] = 1
        searcher.net.alphas["rest"][0, -1] = 1  # the second layer is skipped
        searcher.net.alphas["rest"][1, 0] = 1
    probabilities = searcher.probabilities()
    genotype = searcher.config.discretize.genotype(probabilities, searcher.context)
    assert len(genotype.layers) == 2
    masks = path_masks(genotype, probabilities, searcher.context)
    assert [row.nonzero().item() for row in masks["rest"]] == [masks["rest"].shape[1] - 1, 0]
    other = searcher.config.space.genotype.parse('{"layers": ["relu_4"]}')
    assert other.to_json() != genotype.to_json()
    assert int(path_masks(other, probabilities, searcher.context)["rest"][0].nonzero()) > 0
