"""Genotypes of the transformer space, and supernets that equal their oracles."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.comparing import EXACT, assert_same, gradients
from torch import Tensor
from transformer_supernets import TASKS, Batch, batch, loss_of, make_pair

from darts.data.words import PADDING
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


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "learned positions": {"positions": "learned", "max_length": 9},
    "one block": {"cells": 1},
}


def outputs(net: Any, data: Batch) -> dict[str, Tensor]:
    torch.manual_seed(5)
    out = net(data.tokens)
    return {"logits": out} if isinstance(out, Tensor) else out._asdict()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("task", TASKS)
def test_results_equal_the_oracle(task: str, options: dict[str, Any], training: bool) -> None:
    oracle, fast = make_pair(task, **options)
    assert_same(fast.state_dict(), oracle.state_dict())
    for net in (oracle, fast):
        net.train(training)
        torch.manual_seed(5)
        loss_of(net, batch(task)).backward()
    assert_same(outputs(fast, batch(task)), outputs(oracle, batch(task)))
    assert_same(gradients(fast), gradients(oracle))
    for name, gradient in gradients(fast).items():
        assert bool(gradient.any()), name


def test_an_empty_text_gives_finite_logits_and_gradients() -> None:
    net = make_pair("classifier")[1]
    tokens = torch.full((4, 2), PADDING)
    tokens[:2, 0] = 5
    logits = net(tokens)
    assert bool(logits.isfinite().all())
    torch.testing.assert_close(logits[1], net.frame.classifier.bias, **EXACT)
    logits.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())
