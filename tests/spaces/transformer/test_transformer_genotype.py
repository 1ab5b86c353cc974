"""Genotypes of the transformer space: text, structure and error messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.spaces import parse_genotype, space_of
from darts.spaces.describe import difference
from darts.spaces.transformer.genotype import (
    FEED_FORWARDS,
    MIXERS,
    NETWORK_FEED_FORWARDS,
    NETWORK_MIXERS,
    Genotype,
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


@given(NETWORK_BLOCKS)
@settings(deadline=None, max_examples=30)
def test_operations_of_networks_only_round_trip_and_have_no_point(blocks: Any) -> None:
    genotype = Genotype(tuple(blocks))
    for text in (str(genotype), genotype.to_json()):
        assert parse_genotype(text) == genotype
    space: Any = space_of(genotype)
    if not {name for pair in blocks for name in pair} & {"lstm", "identity"}:
        assert space.decode(space.encode(genotype)) == genotype
        return
    with pytest.raises(ValueError, match=r"(lstm|identity) is not a candidate of block") as caught:
        space.encode(genotype)
    assert "\n" not in str(caught.value)


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
