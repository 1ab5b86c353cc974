"""Genotypes of recurrent cells: JSON and classic text, error messages, published cells."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darts.spaces import parse_genotype, space_of
from darts.spaces.cnn import PUBLISHED as CNN
from darts.spaces.describe import difference, is_chain
from darts.spaces.lookup import find_genotype
from darts.spaces.recurrent import ACTIVATIONS, PRIMITIVES, PUBLISHED, Genotype

PAIRS: Any = [("tanh", 0), ("relu", 1), ("identity", 1)]
SMALL = Genotype(PAIRS, range(1, 4))
CLASSIC = "Genotype(recurrent=[('tanh', 0), ('relu', 1), ('identity', 1)], concat=range(1, 4))"


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    nodes = draw(st.integers(1, 12))
    pairs = [
        (draw(st.sampled_from(ACTIVATIONS)), draw(st.integers(0, node))) for node in range(nodes)
    ]
    states = st.sampled_from(range(1, nodes + 1))
    return Genotype(pairs, draw(st.lists(states, min_size=1, unique=True)))


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


def test_genotypes_are_immutable_and_hashable() -> None:
    assert Genotype(recurrent=PAIRS, concat=[1, 2, 3]) == SMALL
    assert (SMALL.recurrent, SMALL.outputs) == (tuple(PAIRS), (1, 2, 3))
    assert hash(SMALL) == hash(Genotype.parse(CLASSIC))
    assert str(SMALL) == repr(SMALL) == CLASSIC
    with pytest.raises(FrozenInstanceError):
        SMALL.recurrent = ()  # type: ignore[misc]


def test_edges_and_operation_counts() -> None:
    assert SMALL.edges("recurrent") == [(0, 1, "tanh"), (1, 2, "relu"), (1, 3, "identity")]
    assert (SMALL.cells, SMALL.inputs, SMALL.nodes()) == (("recurrent",), 1, 3)
    assert SMALL.concat() == (1, 2, 3)
    assert [SMALL.count(name) for name in PRIMITIVES] == [0, 1, 1, 0, 1]
    assert SMALL.count("relu", "recurrent") == 1
    with pytest.raises(ValueError, match="'normal'; choose from recurrent"):
        SMALL.nodes("normal")
    with pytest.raises(ValueError, match="unknown operation 'gelu'; choose from none, tanh, relu"):
        SMALL.count("gelu")


def test_the_order_of_outputs_does_not_matter() -> None:
    other = Genotype(PAIRS, [3, 1, 2])
    assert other != SMALL
    assert other.same_as(SMALL)
    assert not other.same_as(Genotype(PAIRS, [3, 1]))
    assert str(other).endswith("concat=[3, 1, 2])")


def test_a_sequence_of_nodes_with_several_outputs_is_not_a_chain() -> None:
    row: Any = [("tanh", 0), ("tanh", 1)]
    assert not is_chain(Genotype(row, (1, 2)), "recurrent")
    assert is_chain(Genotype(row, (2,)), "recurrent")
    assert difference(Genotype(row, (1, 2)), Genotype(row, (2,))) == [
        "recurrent, output: node 1, node 2 vs. node 2"
    ]


@pytest.mark.parametrize(
    "text",
    [
        CLASSIC,
        f"  \n{CLASSIC}\n",
        f"DARTS_V1 = {CLASSIC}",
        CLASSIC.replace("'", '"').replace("range(1, 4)", "[1, 2, 3]"),
        CLASSIC.replace("recurrent=", "").replace("concat=", ""),
        "Genotype(concat=(1, 2, 3), recurrent=(('tanh', 0), ('relu', 1), ('identity', 1)))",
        SMALL.to_json(),
        "\ufeff" + SMALL.to_json(),
    ],
)
def test_all_notations_parse_to_the_same_genotype(text: str) -> None:
    assert Genotype.parse(text) == SMALL
    assert parse_genotype(text) == SMALL
    assert find_genotype(text.removeprefix("\ufeff")) == ("given", SMALL)


@given(genotypes())
@settings(deadline=None)
def test_json_and_classic_text_round_trip(genotype: Genotype) -> None:
    assert parse_genotype(genotype.to_json()) == genotype
    assert parse_genotype(str(genotype)) == genotype
    assert "\n" not in str(genotype)
    assert json.loads(genotype.to_json())["space"] == "recurrent"
    assert space_of(genotype).name == "recurrent"


def test_classic_text_of_cnn_genotypes_parses_as_cnn() -> None:
    for entry in CNN.values():
        assert parse_genotype(str(entry.genotype)) == entry.genotype
    for text in ("Genotype(spam=[])", "Genotype(normal=[('tanh', 0)])", "Genotype([('none', 0)])"):
        with pytest.raises(ValueError, match="normal"):
            parse_genotype(text)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (([], [1]), "at least one node, not"),
        (("tanh", [1]), "at least one node, not 'tanh'"),
        (([("tanh", 0, 1)], [1]), r"node 1 is \('tanh', 0, 1\), not an"),
        (([("none", 0)], [1]), "unknown activation 'none'; choose from tanh, relu, sigmoid"),
        (([("gelu", 0)], [1]), "node 1: unknown activation 'gelu'"),
        (([("tanh", 1)], [1]), "node 1: source 1 must be a state from 0 to 0"),
        (([("tanh", 0), ("tanh", -1)], [1]), "node 2: source -1 must be a state from 0 to 1"),
        (([("tanh", False)], [1]), "source False"),
        (([("tanh", 0)], []), "at least one state"),
        (([("tanh", 0)], [0]), "0 must be a node from 1 to 1"),
        (([("tanh", 0)], [2]), "2 must be a node"),
        (([("tanh", 0)], [True]), "True must be a node"),
        (([("tanh", 0), ("relu", 0)], [1, 1]), "contains a node twice"),
        (([("tanh", 0)], 1), "at least one state, not 1"),
    ],
)
def test_invalid_fields_are_reported_in_one_line(fields: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        Genotype(*fields)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty text"),
        (None, "not from None"),
        (SMALL.to_json().replace('"recurrent",', '"cnn",', 1), "space 'cnn', not to"),
        (SMALL.to_json()[:-1] + ', "concat": [1]}', "concat occurs twice"),
        (SMALL.to_json().replace('"concat"', '"normal"'), "unknown field 'normal'; the fields are"),
        ("Genotype(recurrent=[('tanh', 0)])", "concat missing"),
        ("Genotype([('tanh', 0)], [1], [2])", "3 positional fields, but there are 2"),
        (str(CNN["DARTS_V2"].genotype), "unknown field 'normal'; the fields are recurrent, concat"),
        (CLASSIC.replace("range(1, 4)", "open('x')"), "only call allowed"),
        (CLASSIC.replace("('relu', 1)", "'relu'"), "node 2 is 'relu', not an"),
    ],
)
def test_invalid_text_is_rejected_with_its_reason(text: Any, match: str) -> None:
    assert parse_or_one_line(text) is None
    with pytest.raises(ValueError, match=match):
        Genotype.parse(text)


def test_parsing_never_executes_code(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for attack in (f"__import__('os').system('touch {trace}')", f"open('{trace}', 'w')"):
        for text in (attack, f"Genotype({attack})", CLASSIC.replace("range(1, 4)", attack)):
            assert parse_or_one_line(text) is None
    assert os.listdir(tmp_path) == []


@given(st.text(max_size=200))
@example("'\\ud800'")
@settings(deadline=None)
def test_arbitrary_text_is_rejected_in_one_line(text: str) -> None:
    parse_or_one_line(text)
    parse_or_one_line(f"Genotype({text})")
    parse_or_one_line(f'{{"recurrent": {text}}}')


@given(
    st.sampled_from([CLASSIC, SMALL.to_json()]),
    st.lists(
        st.tuples(
            st.integers(0, 150),
            st.integers(0, 5),
            st.one_of(st.text(max_size=4), st.sampled_from(list("()[]{},='\"0123456789 \n_"))),
        ),
        min_size=1,
        max_size=6,
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "DARTS_RNN_V1",
            "DARTS_V1 = Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2), ('relu', 3), "
            "('relu', 4), ('identity', 1), ('relu', 5), ('relu', 1)], concat=range(1, 9))",
        ),
        (
            "DARTS_RNN_V2",
            "DARTS_V2 = Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), "
            "('identity', 1), ('tanh', 2), ('sigmoid', 5), ('tanh', 3), ('relu', 5)], "
            "concat=range(1, 9))",
        ),
        (
            "ENAS_RNN",
            "ENAS = Genotype(recurrent = [('tanh', 0), ('tanh', 1), ('relu', 1), ('tanh', 3), "
            "('tanh', 3), ('relu', 3), ('relu', 4), ('relu', 7), ('relu', 8), ('relu', 8), "
            "('relu', 8)], concat = [2, 5, 6, 9, 10, 11])",
        ),
    ],
)
def test_published_text_parses_to_the_published_cells(name: str, text: str) -> None:
    assert parse_genotype(text) == PUBLISHED[name].genotype
    assert find_genotype(name) == (name, PUBLISHED[name].genotype)
    assert find_genotype(name.lower())[1] == PUBLISHED[name].genotype


def test_published_entries_are_complete() -> None:
    assert set(PUBLISHED) == {"DARTS_RNN_V1", "DARTS_RNN_V2", "ENAS_RNN"}
    assert not set(PUBLISHED) & set(CNN)
    for name, entry in PUBLISHED.items():
        assert entry.name == name
        assert entry.test_perplexity < entry.valid_perplexity
        assert entry.result == f"{entry.test_perplexity:.1f}"
    with pytest.raises(ValueError, match="did you mean DARTS_RNN_V2") as caught:
        find_genotype("DARTS_RNN_V3")
    assert all(name in str(caught.value) for name in (*PUBLISHED, *CNN))
