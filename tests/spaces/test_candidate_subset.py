"""``space.candidates`` of the spaces whose supernets contain all operations."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_search import make_batch, make_searcher

from darts.spaces.macro import Macro
from darts.spaces.recurrent import Recurrent
from darts.spaces.transformer import Transformer


@pytest.mark.parametrize("method", ["darts_v1", "gdas", "random_sharing"])
def test_a_search_neither_runs_nor_chooses_other_operations(method: str) -> None:
    searcher = make_searcher(
        "space=macro", f"method={method}", "space.candidates=[mb_k3_e3,mb_k7_e6,skip_connect]"
    )
    allowed = {"mb_k3_e3", "mb_k7_e6", "skip_connect"}
    before = {name: p.detach().clone() for name, p in searcher.net.named_parameters()}
    searcher.begin_epoch(0)
    update_alphas = searcher.bilevel.updates_alphas
    searcher.search_step(make_batch(0), make_batch(1), update_alphas=update_alphas)
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
        (lambda: Recurrent(candidates=["none"]), "'none' alone is not a network"),
        (lambda: Transformer(candidates=["conv_3"]), "nothing for the feed-forward layers"),
    ],
)
def test_lists_that_leave_no_choice_are_rejected(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
