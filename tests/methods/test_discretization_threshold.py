"""Operations below the threshold are dropped after the two edges of each node are chosen."""

from __future__ import annotations

import pytest
import torch
from tiny_search import context_and_supernet, make_searcher

from darts.config import ConfigError, compose
from darts.methods.discretization import Threshold
from darts.recipes.checks import check_components
from darts.searching.paths import path_masks

CONTEXT, _ = context_and_supernet("cnn")
SEP = 4  # column of sep_conv_3x3


def tables(normal: dict[int, float], default: float = 0.1) -> dict[str, torch.Tensor]:
    """Return sigmoids of both cells; ``normal`` sets sep_conv_3x3 on some edges."""
    table = torch.full((14, 8), 0.05)
    table[:, SEP] = default
    for edge, value in normal.items():
        table[edge, SEP] = value
    return {"normal": table, "reduce": torch.full((14, 8), 0.9)}


def test_weak_edges_and_nodes_without_edges_disappear() -> None:
    # Edges 0 and 1 enter node 2, edges 2 to 4 node 3, edges 5 to 8 node 4, edges 9 to 13 node 5.
    probabilities = tables({0: 0.9, 1: 0.84, 5: 0.95, 6: 0.86, 7: 0.99, 12: 0.9})
    genotype = Threshold().genotype(probabilities, CONTEXT)
    assert genotype.normal == (
        ("sep_conv_3x3", 0), ("none", 1),
        ("none", 0), ("none", 1),
        ("sep_conv_3x3", 2), ("sep_conv_3x3", 0),  # 0.99 and 0.95; 0.86 is the third
        ("none", 3), ("none", 0),  # node 3 does not exist
    )  # fmt: skip
    assert genotype.normal_concat == (2, 4)
    assert all(name == "max_pool_3x3" for name, _ in genotype.reduce)
    assert genotype.reduce_concat == (2, 3, 4, 5)


def test_the_threshold_itself_is_kept() -> None:
    probabilities = {"normal": torch.full((14, 8), 0.5), "reduce": torch.full((14, 8), 0.5)}
    assert Threshold(threshold=0.5).genotype(probabilities, CONTEXT).normal_concat == (2, 3, 4, 5)


def test_a_cell_keeps_at_least_one_edge() -> None:
    genotype = Threshold().genotype(tables({6: 0.4, 12: 0.5}), CONTEXT)
    # Edge 12 is stronger, but reads node 3, which would have no input.
    assert [pair for pair in genotype.normal if pair[0] != "none"] == [("sep_conv_3x3", 1)]
    assert genotype.normal_concat == (4,)


def test_a_genotype_with_missing_edges_has_a_path_in_the_supernet() -> None:
    seven = "[max_pool_3x3,avg_pool_3x3,skip_connect,sep_conv_3x3,sep_conv_5x5]"
    searcher = make_searcher("method=fair_darts", "space.cells=1", f"space.candidates={seven}")
    table = torch.full((14, 5), 0.1)
    table[0, 3] = 0.9
    probabilities = {"normal": table, "reduce": table}
    genotype = Threshold().genotype(probabilities, searcher.context)
    masks = path_masks(genotype, probabilities, searcher.context)
    assert masks["normal"].nonzero().tolist() == [[0, 3]]


def test_spaces_that_keep_all_edges_refuse_it() -> None:
    config = compose("search", ["space=nas201", "dataset=synthetic", "discretize=threshold"])
    with pytest.raises(ConfigError, match="discretize=threshold: genotypes of space=nas201 keep"):
        check_components(config)
    with pytest.raises(ValueError, match="genotypes of space=nas201 keep all edges"):
        config.space.without_improbable_edges(None, {}, {}, 0.5)
