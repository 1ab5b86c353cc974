"""Helpers of derivation, and the base classes of genotypes and networks."""

from __future__ import annotations

import pytest
import torch
from tiny_search import BUILT_IN

from darts.spaces import SPACES, NetworkBase, macro, nas201
from darts.spaces.deriving import best_columns, best_operations, edge_mask, first_argmax, mask_row

CANDIDATES = {"a": [("x", "y", "z")] * 2, "b": [("x", "y")]}


def test_ties_go_to_the_lower_column() -> None:
    assert first_argmax([0.2, 0.4, 0.4]) == 1
    tables = {
        "a": torch.tensor([[0.2, 0.4, 0.4], [0.5, 0.5, 0.0]]),
        "b": torch.tensor([[0.1, 0.9]]),
    }
    assert best_columns(tables, CANDIDATES) == {"a": [1, 0], "b": [1]}
    assert best_operations(tables, CANDIDATES) == {"a": ["y", "x"], "b": ["y"]}


def test_groups_must_match_the_candidates() -> None:
    with pytest.raises(ValueError, match=r"probabilities: groups \['a'\] must be \['a', 'b'\]"):
        best_columns({"a": torch.zeros(2, 3)}, CANDIDATES)


def test_masks_mark_used_operations_and_reject_others() -> None:
    assert mask_row("y", ("x", "y"), "of b") == [False, True]
    with pytest.raises(ValueError, match=r"^z is not a candidate of b$"):
        mask_row("z", ("x", "y"), "of b")
    layout, names = [(0, 1), (0, 2), (1, 2)], [("x", "y")] * 3
    mask = edge_mask([(0, 1, "y"), (1, 2, "x")], layout, names, "cell")
    assert mask.tolist() == [[False, True], [False, False], [True, False]]
    with pytest.raises(ValueError, match=r"^x from 2 to 3 is not a candidate of cell$"):
        edge_mask([(2, 3, "x")], layout, names, "cell")


def test_the_only_cell_need_not_be_named() -> None:
    genotype = macro.Genotype(("mb_k3_e3", "mb_k5_e6", "mb_k7_e3"))
    assert genotype.edges() == genotype.edges("blocks")
    assert genotype.check_cell(None) == "blocks"
    assert nas201.Genotype.from_index(0).same_as(genotype) is False


@pytest.mark.parametrize("name", [n for n in BUILT_IN if "images" in SPACES[n].data_kinds])
def test_networks_share_their_base(name: str) -> None:
    space = SPACES[name]()
    genotype = space.random(torch.Generator().manual_seed(0))
    net = space.network(genotype, classes=3, in_channels=space.in_channels((3, 8, 8)))
    assert isinstance(net, NetworkBase)
    assert net.genotype is genotype
    assert (net.drop_path, net.batch_share, net.auxiliary) == (0.0, None, None)
    for cell in genotype.cells:
        modules = net.edge_modules(cell, 0)
        assert modules is None or all(hasattr(module, attribute) for module, attribute in modules)
