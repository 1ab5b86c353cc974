"""Genotypes of the macro space: text, structure and error messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.spaces import parse_genotype
from darts.spaces.macro import PRIMITIVES, Genotype, Macro

BLOCKS = (*("mb_k3_e3", "skip_connect"), *("mb_k5_e6", "mb_k7_e3"), *("mb_k3_e6", "mb_k3_e3"))
SMALL = Genotype(BLOCKS)


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    space = Macro(cells=draw(st.integers(1, 6)))
    return space.random(torch.Generator().manual_seed(draw(st.integers(0, 2**32))))


@given(genotypes())
@settings(deadline=None)
def test_parsing_inverts_all_notations(genotype: Genotype) -> None:
    for text in (str(genotype), genotype.to_json(), f"\ufeff \n{genotype.to_json()}\n"):
        assert Genotype.parse(text) == genotype
        assert parse_genotype(text) == genotype
        assert json.loads(text.strip("\ufeff \n"))["space"] == "macro"
    assert "\n" not in str(genotype)


def test_edges_and_counts() -> None:
    assert SMALL.edges("blocks") == [(i, i + 1, name) for i, name in enumerate(BLOCKS)]
    assert SMALL.cells == ("blocks",)
    assert (SMALL.space, SMALL.inputs, SMALL.depth) == ("macro", 1, 2)
    assert SMALL.nodes("blocks") == 6
    assert SMALL.concat("blocks") == (6,)
    assert sum(SMALL.count(name) for name in PRIMITIVES) == 6
    assert SMALL.count("mb_k3_e3", "blocks") == 2
    assert hash(SMALL) == hash(Genotype(list(BLOCKS)))  # type: ignore[arg-type]


def test_same_as_ignores_the_position_of_skipped_blocks() -> None:
    a, b, skip = "mb_k3_e3", "mb_k5_e3", "skip_connect"
    early = Genotype((a, skip, b, a, a, a, a, a, a))
    late = Genotype((a, b, skip, a, a, a, a, a, a))
    assert early != late
    assert early.same_as(late)
    assert early.canonical() == late.canonical() == late
    assert not early.same_as(Genotype((b, a, skip, a, a, a, a, a, a)))
    assert not early.same_as("text")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty text"),
        (None, "read from text"),
        (" " * 100_001, "at most 100000 characters"),
        ("__import__('os')", "bad JSON at line 1"),
        ("[1]", "expected a JSON object"),
        ('{"space": "cnn", "blocks": []}', "belongs to the space 'cnn'"),
        ('{"space": "macro"}', "blocks missing; the fields are blocks"),
        ('{"space": "macro", "blocks": [], "more": 1}', "unknown field 'more'"),
        ('{"blocks": [], "blocks": []}', "blocks occurs twice"),
        ('{"blocks": {"a": 1, "b": 2, "c": 3}}', "'blocks' must not be a JSON object"),
        ('{"blocks": "mb_k3_e3"}', "blocks must list operations, not 'mb_k3_e3'"),
        ('{"blocks": []}', "blocks lists 0 operations; 3 stages"),
        ('{"blocks": ["mb_k3_e3", "mb_k3_e3"]}', "blocks lists 2 operations; 3 stages"),
        ('{"blocks": ["mb_k3_e3", "mb_k3_e3", 3]}', "unknown operation 3; choose from mb_k3_e3"),
        ('{"blocks": ["mb_k3_e3", "skip_connect", "mb_k3_e3"]}', "block 1 begins a stage"),
        ('{"blocks":' * 9_000, "not a genotype"),
        ('{"blocks": ' + "9" * 5000 + "}", "not a genotype"),
    ],
    ids=range(17),
)
def test_invalid_text_is_rejected_in_one_line(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Genotype.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_damaged_text_is_parsed_or_rejected_in_one_line(data: st.DataObject) -> None:
    text = str(SMALL)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    damaged = text[:start] + data.draw(st.text(max_size=4)) + text[stop:]
    try:
        actual = Genotype.parse(damaged)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        assert Genotype.parse(str(actual)) == actual
    assert "\n" not in message


def test_unknown_operations_and_cells_are_rejected() -> None:
    with pytest.raises(ValueError, match="unknown operation 'none'; choose from mb_k3_e3"):
        SMALL.count("none")
    for method in (SMALL.nodes, SMALL.concat, SMALL.edges, lambda c: SMALL.count("mb_k3_e3", c)):
        with pytest.raises(ValueError, match="unknown cell 'normal'; choose from blocks"):
            method("normal")
