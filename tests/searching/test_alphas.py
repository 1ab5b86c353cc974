"""Initial alphas, and scalars that summarize alphas and genotypes."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_search import make_searcher

from darts.searching.alphas import alpha_scalars, genotype_counts
from darts.spaces import Genotype, SearchContext

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
EDGES = ((0, 2), (1, 2))


def test_scalars_have_a_tag_for_each_edge_and_operation() -> None:
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]], requires_grad=True)
    edges = {"normal": EDGES, "reduce": EDGES}
    candidates = dict.fromkeys(edges, (OPERATIONS,) * len(EDGES))
    context = SearchContext(None, candidates, edges, dict.fromkeys(edges, 1))
    probabilities = {"normal": p, "reduce": p.flip(0)}
    scalars = alpha_scalars(probabilities, context, edges=True)
    assert scalars["alpha/normal/0→2/none"] == pytest.approx(0.7)
    assert scalars["alpha/reduce/1→2/skip_connect"] == pytest.approx(0.1)
    assert scalars["entropy/normal/1→2"] == pytest.approx(math.log(4))
    mean = (scalars["entropy/normal/0→2"] + scalars["entropy/normal/1→2"]) / 2
    assert scalars["entropy/normal/mean"] == pytest.approx(mean)
    assert scalars["margin/normal/mean"] == pytest.approx(0.0)
    assert len(scalars) == 2 * (2 * 4 + 2 + 2 + 2)
    assert all(type(value) is float for value in scalars.values())
    means = {tag: value for tag, value in scalars.items() if tag.endswith("/mean")}
    assert alpha_scalars(probabilities, context) == means


def test_genotype_counts_include_zeros() -> None:
    genotype = Genotype(
        (("skip_connect", 0), ("skip_connect", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        (2, 3),
        (("none", 0), ("max_pool_3x3", 1)),
        (2,),
    )
    assert genotype_counts(genotype) == {
        "genotype/normal/skip_connect": 2,
        "genotype/normal/none": 0,
        "genotype/reduce/skip_connect": 0,
        "genotype/reduce/none": 1,
    }


@pytest.mark.parametrize("deviation", [0.0, 1e-3, 0.01])
@pytest.mark.parametrize("method", ["darts_v1", "pc_darts"])
def test_initial_alphas_are_scaled(method: str, deviation: float) -> None:
    overrides = (f"method={method}", "space.cells=1", "space.channels=4")
    default = make_searcher(*overrides).net
    scaled = make_searcher(*overrides, f"arch_optimizer.initial_deviation={deviation}").net
    assert len(scaled.alphas) == (4 if method == "pc_darts" else 2)  # also those of the edges
    for group, alpha in default.alphas.items():
        torch.testing.assert_close(scaled.alphas[group], alpha * (deviation / 1e-3))
    weights = zip(default.weight_parameters(), scaled.weight_parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in weights)
