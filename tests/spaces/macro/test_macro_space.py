"""The macro space as a part of a method."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.methods.discretization_argmax import Argmax
from darts.spaces import SPACES, SearchContext, space_of
from darts.spaces.macro import PRIMITIVES, Genotype, Macro, derive
from darts.spaces.macro.derive import in_block_order

SIZES: dict[str, Any] = {"classes": 4, "in_channels": 3}


def test_it_is_registered() -> None:
    assert SPACES["macro"] is Macro
    assert (Macro().channels, Macro().cells) == (16, 4)


def test_derive_takes_the_most_probable_operation_of_each_block() -> None:
    space = Macro(channels=2, cells=3)
    net = space.supernet(**SIZES)
    generator = torch.Generator().manual_seed(0)
    p = {g: torch.rand(s, generator=generator).softmax(-1) for g, s in net.shapes.items()}
    genotype = space.derive(p, net.candidates)
    first, rest = (p[group].argmax(-1).tolist() for group in ("first", "rest"))
    columns = [first[0], *rest[:2], first[1], *rest[2:4], first[2], *rest[4:]]
    assert genotype.blocks == tuple(PRIMITIVES[column] for column in columns)
    uniform = {g: torch.full(s, 1 / s[1]) for g, s in net.shapes.items()}
    assert set(space.derive(uniform, net.candidates).blocks) == {PRIMITIVES[0]}


def test_the_mask_of_what_was_derived_is_where_the_probability_is() -> None:
    space = Macro(channels=2, cells=2)
    candidates = space.supernet(**SIZES).candidates
    for seed in range(20):
        genotype = space.random(torch.Generator().manual_seed(seed))
        mask = space.mask(genotype, candidates)
        assert {group: m.shape for group, m in mask.items()} == {"first": (3, 6), "rest": (3, 7)}
        assert all(bool((m.sum(-1) == 1).all()) for m in mask.values())
        probabilities = {group: m.double() for group, m in mask.items()}
        assert space.derive(probabilities, candidates) == genotype


def test_random_genotypes_use_everything() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [Macro(cells=2).random(generator).blocks for _ in range(200)]
    for place in range(6):
        wanted = set(PRIMITIVES if place % 2 else PRIMITIVES[:-1])
        assert {blocks[place] for blocks in drawn} == wanted


def test_groups_in_the_order_of_the_blocks() -> None:
    assert in_block_order({"first": "ABC", "rest": "abcdef"}) == list("AabBcdCef")
    assert in_block_order({"first": "ABC"}) == list("ABC")


def test_wrong_probabilities() -> None:
    candidates = Macro(channels=2, cells=2).supernet(**SIZES).candidates
    right = {"first": torch.full((3, 6), 1 / 6), "rest": torch.full((3, 7), 1 / 7)}
    for change, message in (
        ({"first": torch.zeros(3, 7)}, r"first have shape \(3, 7\), not \(3 edges, 6 operations\)"),
        ({"rest": torch.full((3, 7), torch.nan)}, "rest hold values that are not finite"),
        ({"rest": torch.full((3, 7), -1.0)}, "range from -1 to -1, not within 0 and 1"),
        ({"other": torch.zeros(1)}, r"groups \['first', 'other', 'rest'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            derive({**right, **change}, candidates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partial": 4}, "space=macro has no partial channels, got partial=4"),
        ({"auxiliary_skip": True}, "space=macro has no auxiliary skip connections"),
        ({"depth": 0.5}, "space=macro has no stages of another depth, got depth=0.5"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Macro().supernet(**SIZES, **options)
    assert "\n" not in str(caught.value)


def test_a_genotype_brings_its_depth() -> None:
    genotype = Genotype(("mb_k3_e3",) * 6)
    assert (space_of(genotype).name, space_of(genotype).cells) == ("macro", 2)
    net = Macro(channels=2, cells=4).network(genotype, **SIZES)
    assert len(net.blocks) == 6


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_limit_to_skips_counts_those_of_the_blocks_that_can_be_skipped(limit: int) -> None:
    space = Macro(channels=2, cells=2)
    context = SearchContext.from_supernet(space, space.supernet(**SIZES))
    rest = torch.tensor([[0.1, *5 * [0.0], 0.9], [0.3, *5 * [0.0], 0.7], [0.2, *5 * [0.0], 0.8]])
    p = {"first": torch.full((3, 6), 1 / 6), "rest": rest}
    found = Argmax(skip_limit=limit).genotype(p, context)
    skipped = [found.blocks[place] == "skip_connect" for place in (1, 3, 5)]
    assert skipped == [limit > 0, False, limit > 1]  # the most probable stay
