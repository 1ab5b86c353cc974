"""``space.candidates`` of the spaces whose supernets contain all operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_search import make_batch, make_searcher

from darts.spaces.macro import Macro
from darts.spaces.recurrent import Recurrent
from darts.spaces.transformer import Transformer

SPACES: dict[str, Any] = {
    "macro": Macro(cells=2, candidates=["mb_k3_e3", "mb_k5_e6", "skip_connect"]),
    "recurrent": Recurrent(nodes=3, candidates=["none", "tanh", "identity"]),
    "transformer": Transformer(cells=2, candidates=["conv_3", "identity", "relu_1", "relu_4"]),
}
USED = {
    "macro": {"mb_k3_e3", "mb_k5_e6", "skip_connect"},
    "recurrent": {"tanh", "identity"},
    "transformer": {"conv_3", "identity", "relu_1", "relu_4"},
}


def operations_of(name: str, genotype: Any) -> set[str]:
    if name == "macro":
        return set(genotype.blocks)
    if name == "recurrent":
        return {activation for _, _, activation in genotype.edges()}
    return {operation for block in genotype.blocks for operation in block}


@pytest.mark.parametrize("name", SPACES)
def test_random_architectures_and_points_consist_of_the_candidates(name: str) -> None:
    space = SPACES[name]
    generator = torch.Generator().manual_seed(0)
    seen: set[str] = set()
    for _ in range(60):
        genotype = space.random(generator)
        seen |= operations_of(name, genotype)
        assert space.decode(space.encode(genotype)) == genotype
    assert seen == USED[name]
    unrestricted = type(space)(cells=space.cells)
    assert space.initial_masks({"g": [["tanh", "conv_3", "mb_k3_e3", "gelu_1"]]})
    assert unrestricted.initial_masks({"g": [["tanh"]]}) == {}


@pytest.mark.parametrize("name", SPACES)
def test_other_architectures_are_not_points_of_the_space(name: str) -> None:
    space, generator = SPACES[name], torch.Generator().manual_seed(0)
    sizes = {"nodes": 3} if name == "recurrent" else {"cells": 2}
    every = type(space)(**sizes)
    others = [every.random(generator) for _ in range(30)]
    refused = [g for g in others if not operations_of(name, g) <= USED[name]]
    assert refused
    for genotype in refused:
        with pytest.raises(ValueError, match="is not a candidate"):
            space.encode(genotype)


@pytest.mark.parametrize("method", ["darts_v1", "gdas", "random_sharing"])
def test_a_search_neither_runs_nor_chooses_other_operations(method: str) -> None:
    searcher = make_searcher(
        "space=macro", f"method={method}", "space.candidates=[mb_k3_e3,mb_k7_e6,skip_connect]"
    )
    allowed = {"mb_k3_e3", "mb_k7_e6", "skip_connect"}
    before = {name: p.detach().clone() for name, p in searcher.net.named_parameters()}
    searcher.begin_epoch(0)
    searcher.train_step(make_batch(0), make_batch(1))
    for group, table in searcher.probabilities().items():
        for names, row in zip(searcher.context.candidates[group], table.tolist(), strict=True):
            chosen = {name for name, p in zip(names, row, strict=True) if p > 0}
            assert chosen == allowed & set(names)
    genotype = searcher.config.discretize.genotype(searcher.probabilities(), searcher.context)
    assert set(genotype.blocks) <= allowed
    changed = {
        name
        for name, parameter in searcher.net.named_parameters()
        if not parameter.equal(before[name]) and ".operations." in name
    }
    for name in changed:  # e.g. blocks.0.operations.3.…: column 3 of the first block
        block, column = int(name.split(".")[1]), int(name.split(".operations.")[1].split(".")[0])
        assert searcher.net.blocks[block].plan.candidates[column] in allowed
    assert changed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Macro(candidates=["mb_k9_e3"]), "'mb_k9_e3' is unknown; choose from mb_k3_e3"),
        (lambda: Macro(candidates=["skip_connect"]), "nothing for the first block of a stage"),
        (lambda: Macro(candidates=["mb_k3_e3"] * 2), "'mb_k3_e3' occurs more than once"),
        (
            lambda: Macro(skeleton="nasbench", candidates=["conv_1x1"]),
            "nothing for the other blocks",
        ),
        (lambda: Recurrent(candidates=["none"]), "'none' alone is no network"),
        (lambda: Transformer(candidates=["conv_3"]), "nothing for the feed-forward layers"),
        (
            lambda: Transformer(candidates=["conv_3", "relu_1", "gelu_2"]),
            "activation and the ratio of relu_2, but not relu_2",
        ),
    ],
)
def test_lists_that_leave_no_choice_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
