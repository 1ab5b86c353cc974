"""Genotypes of the transformer space: text, structure and error messages."""

from __future__ import annotations

import json
import warnings
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.spaces import parse_genotype, space_of
from darts.spaces.describe import difference, is_chain
from darts.spaces.lookup import find_genotype
from darts.spaces.transformer import (
    FEED_FORWARDS,
    MIXERS,
    NETWORK_FEED_FORWARDS,
    NETWORK_MIXERS,
    Genotype,
)

BLOCKS = st.lists(
    st.tuples(st.sampled_from(MIXERS), st.sampled_from(FEED_FORWARDS)), min_size=1, max_size=8
)
NETWORK_BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(MIXERS[:-1] + NETWORK_MIXERS),
        st.sampled_from(FEED_FORWARDS + NETWORK_FEED_FORWARDS),
    ),
    min_size=1,
    max_size=4,
)
SMALL = Genotype((("attention_4", "gelu_2"), ("conv_7", "relu_1")))


def parse_or_one_line(text: Any) -> Genotype | None:
    """Return the genotype, or None after checking that the error is a one-line ValueError."""
    try:
        return Genotype.parse(text)
    except ValueError as error:
        message, error_type = str(error), type(error)
    assert error_type is ValueError
    assert message
    assert message.splitlines() == [message]
    assert len(message) < 500
    return None


@given(BLOCKS)
@settings(deadline=None)
def test_json_text_round_trips(blocks: Any) -> None:
    genotype = Genotype(tuple(blocks))
    for text in (str(genotype), genotype.to_json(), f"\ufeff \n{genotype.to_json()}\n"):
        assert Genotype.parse(text) == genotype
        assert parse_genotype(text) == genotype
        content = {"space": "transformer", "blocks": [list(pair) for pair in blocks]}
        assert json.loads(text.strip("\ufeff \n")) == content
    assert find_genotype(str(genotype)) == ("given", genotype)
    assert "\n" not in str(genotype)
    assert len(genotype.to_json().splitlines()) == 5 + len(blocks)
    space: Any = space_of(genotype)
    assert (space.name, space.cells) == ("transformer", len(blocks))
    assert space.decode(space.encode(genotype)) == genotype


@given(NETWORK_BLOCKS)
@settings(deadline=None, max_examples=30)
def test_operations_of_networks_only_round_trip_and_have_no_point(blocks: Any) -> None:
    genotype = Genotype(tuple(blocks))
    for text in (str(genotype), genotype.to_json()):
        assert parse_genotype(text) == genotype
    names = {name for pair in blocks for name in pair} & {"lstm", "identity"}
    assert set(genotype.network_operations) == names
    space: Any = space_of(genotype)
    if not names:
        assert space.decode(space.encode(genotype)) == genotype
        return
    with pytest.raises(ValueError, match="which the search cannot choose") as caught:
        space.encode(genotype)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="which the search cannot choose"):
        space.mask(genotype, {})


def test_genotypes_are_immutable_and_hashable() -> None:
    listed: Any = [["attention_4", "gelu_2"], ["conv_7", "relu_1"]]
    assert Genotype(listed) == SMALL
    assert hash(Genotype(listed)) == hash(SMALL)
    assert SMALL.same_as(Genotype(listed))
    assert SMALL.canonical() is SMALL
    with pytest.raises(FrozenInstanceError):
        SMALL.blocks = ()  # type: ignore[misc]


def test_a_genotype_is_a_chain_of_two_operations_per_block() -> None:
    assert SMALL.edges() == [
        (0, 1, "attention_4"),
        (1, 2, "gelu_2"),
        (2, 3, "conv_7"),
        (3, 4, "relu_1"),
    ]
    assert (SMALL.cells, SMALL.inputs, SMALL.nodes(), SMALL.concat()) == (("blocks",), 1, 4, (4,))
    assert is_chain(SMALL, "blocks")
    twice = Genotype((*SMALL.blocks, ("conv_7", "gelu_2")))
    assert [twice.count(name) for name in ("conv_7", "gelu_2", "identity")] == [2, 2, 0]
    assert twice.count("conv_7", "blocks") == 2
    with pytest.raises(ValueError, match="unknown cell 'normal'; choose from blocks"):
        SMALL.edges("normal")
    with pytest.raises(ValueError, match="unknown operation 'conv_5'; choose from attention_2"):
        SMALL.count("conv_5")


def test_differences_are_described_by_node() -> None:
    other = Genotype((("attention_4", "gelu_4"), ("identity", "relu_1")))
    assert difference(SMALL, SMALL) == []
    assert difference(SMALL, other) == [
        "blocks, node 2: gelu_2 vs. gelu_4",
        "blocks, node 3: conv_7 vs. identity",
    ]
    assert difference(SMALL, Genotype(SMALL.blocks[:1])) == [
        "blocks: 4 nodes vs. 2",
        "blocks, node 3: conv_7 vs. no edge",
        "blocks, node 4: relu_1 vs. no edge",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty text"),
        (None, "read from text"),
        ("[1]", "expected a JSON object"),
        ('{"space": "cnn", "blocks": [["conv_3", "relu_1"]]}', "belongs to the space 'cnn'"),
        ('{"space": "transformer"}', "blocks missing; the fields are blocks"),
        ('{"blocks": [], "blocks": []}', "blocks occurs twice"),
        ('{"blocks": "conv_3"}', "blocks must list pairs, not 'conv_3'"),
        ('{"blocks": {"conv_3": "relu_1"}}', "'blocks' must not be a JSON object"),
        ('{"blocks": []}', "at least one block"),
        ('{"blocks": ["conv_3"]}', "block 0 is 'conv_3', not a pair of mixer and feed-forward"),
        ('{"blocks": [["conv_3", "relu_1"], ["conv_3"]]}', "block 1 is .'conv_3'., not a pair"),
        ('{"blocks": [{"conv_3": 1, "relu_1": 2}]}', "block 0 is .*, not a pair"),
        (
            '{"blocks": [["conv_3", "relu_1"], ["identity", "identity"]]}',
            "block 1 has neither a mixer nor a feed-",
        ),
        ('{"blocks": [["conv_3", "lstm"]]}', "unknown feed-forward layer 'lstm'"),
        ('{"blocks": [["relu_1", "conv_3"]]}', "block 0: unknown mixer 'relu_1'; choose from att"),
        ('{"blocks": [["attention_3", "relu_1"]]}', "unknown mixer 'attention_3'"),
        ('{"blocks": [["conv_3", "relu_3"]]}', "unknown feed-forward layer 'relu_3'; choose from"),
        ('{"blocks": [["conv_3", ["relu_1"]]]}', r"unknown feed-forward layer \['relu_1'\]"),
        ('{"blocks": [["conv_3", 1]]}', "unknown feed-forward layer 1"),
        ("Genotype(blocks=[('conv_3', 'relu_1')])", "bad JSON at line 1"),
    ],
)
def test_invalid_text_is_rejected_in_one_line(text: Any, message: str) -> None:
    assert parse_or_one_line(text) is None
    with pytest.raises(ValueError, match=message):
        Genotype.parse(text)


@given(
    st.sampled_from([str(SMALL), SMALL.to_json()]),
    st.lists(
        st.tuples(
            st.integers(0, 110),
            st.integers(0, 5),
            st.one_of(st.text(max_size=4), st.sampled_from(list("()[]{},='\"0123456789 \n_"))),
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(deadline=None, max_examples=200)
def test_corrupted_text_parses_to_a_valid_genotype_or_is_rejected(
    text: str, edits: list[tuple[int, int, str]]
) -> None:
    for start, removed, inserted in edits:
        text = text[:start] + inserted + text[start + removed :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        genotype = parse_or_one_line(text)
    if genotype is not None:
        assert Genotype.parse(str(genotype)) == genotype


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from((*MIXERS, *FEED_FORWARDS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.one_of(JSON, st.lists(st.lists(JSON, min_size=2, max_size=2), max_size=2)))
@settings(deadline=None)
def test_arbitrary_json_parses_to_a_valid_genotype_or_is_rejected(blocks: Any) -> None:
    genotype = parse_or_one_line(json.dumps({"space": "transformer", "blocks": blocks}))
    if genotype is not None:
        assert [list(pair) for pair in genotype.blocks] == blocks
