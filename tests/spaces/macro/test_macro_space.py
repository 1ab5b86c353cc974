"""The macro space: derivation, masks, sampling and options."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.methods.discretization import Argmax
from darts.spaces import SPACES, SearchContext, space_of
from darts.spaces.macro import PRIMITIVES, Genotype, Macro
from darts.spaces.macro.space import in_block_order

SIZES: dict[str, Any] = {"classes": 4, "in_channels": 3}


def test_the_space_is_registered() -> None:
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


def test_derive_inverts_mask() -> None:
    space = Macro(channels=2, cells=2)
    candidates = space.supernet(**SIZES).candidates
    for seed in range(20):
        genotype = space.random(torch.Generator().manual_seed(seed))
        mask = space.mask(genotype, candidates)
        assert {group: m.shape for group, m in mask.items()} == {"first": (3, 6), "rest": (3, 7)}
        assert all(bool((m.sum(-1) == 1).all()) for m in mask.values())
        probabilities = {group: m.double() for group, m in mask.items()}
        assert space.derive(probabilities, candidates) == genotype


def test_random_genotypes_use_every_candidate() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [Macro(cells=2).random(generator).blocks for _ in range(200)]
    for block in range(6):
        expected = set(PRIMITIVES if block % 2 else PRIMITIVES[:-1])
        assert {blocks[block] for blocks in drawn} == expected


def test_in_block_order_interleaves_the_groups() -> None:
    assert in_block_order({"first": "ABC", "rest": "abcdef"}) == list("AabBcdCef")
    assert in_block_order({"first": "ABC"}) == list("ABC")


def test_invalid_probabilities_are_rejected() -> None:
    candidates = Macro(channels=2, cells=2).supernet(**SIZES).candidates
    right = {"first": torch.full((3, 6), 1 / 6), "rest": torch.full((3, 7), 1 / 7)}
    for change, message in (
        ({"first": torch.zeros(3, 7)}, r"first have shape \(3, 7\), not \(3 edges, 6 operations\)"),
        ({"rest": torch.full((3, 7), torch.nan)}, "rest hold values that are not finite"),
        ({"rest": torch.full((3, 7), -1.0)}, "range from -1 to -1, not within 0 and 1"),
        ({"other": torch.zeros(1)}, r"groups \['first', 'other', 'rest'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            Macro().derive({**right, **change}, candidates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partial": 4}, "space=macro has no partial channels, got partial=4"),
        ({"auxiliary_skip": True}, "space=macro has no auxiliary skip connections"),
        ({"depth": 0.5}, "space=macro has no stages of another depth, got depth=0.5"),
    ],
)
def test_unsupported_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Macro().supernet(**SIZES, **options)
    assert "\n" not in str(caught.value)


def test_networks_have_the_depth_of_the_genotype() -> None:
    genotype = Genotype(("mb_k3_e3",) * 6)
    assert (space_of(genotype).name, space_of(genotype).cells) == ("macro", 2)
    net = Macro(channels=2, cells=4).network(genotype, **SIZES)
    assert len(net.blocks) == 6


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_skip_limit_counts_skipped_blocks(limit: int) -> None:
    space = Macro(channels=2, cells=2)
    context = SearchContext.from_supernet(space, space.supernet(**SIZES))
    rest = torch.tensor([[0.1, *5 * [0.0], 0.9], [0.3, *5 * [0.0], 0.7], [0.2, *5 * [0.0], 0.8]])
    p = {"first": torch.full((3, 6), 1 / 6), "rest": rest}
    actual = Argmax(skip_limit=limit).genotype(p, context)
    skipped = [actual.blocks[block] == "skip_connect" for block in (1, 3, 5)]
    assert skipped == [limit > 0, False, limit > 1]  # the most probable ones are kept
