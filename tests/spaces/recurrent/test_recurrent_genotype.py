"""Genotypes of recurrent cells: JSON and classic text, error messages, published cells."""

from __future__ import annotations

from typing import Any

import pytest

from darts.spaces import parse_genotype
from darts.spaces.cnn import PUBLISHED as CNN
from darts.spaces.describe import difference, is_chain
from darts.spaces.lookup import find_genotype
from darts.spaces.recurrent import PUBLISHED, Genotype

PAIRS: Any = [("tanh", 0), ("relu", 1), ("identity", 1)]
SMALL = Genotype(PAIRS, range(1, 4))
CLASSIC = "Genotype(recurrent=[('tanh', 0), ('relu', 1), ('identity', 1)], concat=range(1, 4))"


def test_the_order_of_outputs_does_not_matter() -> None:
    other = Genotype(PAIRS, [3, 1, 2])
    assert other != SMALL
    assert other.canonical() == SMALL.canonical()
    assert other.canonical() != Genotype(PAIRS, [3, 1]).canonical()
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
        CLASSIC.replace("recurrent=", "").replace("concat=", ""),
        "Genotype(concat=(1, 2, 3), recurrent=(('tanh', 0), ('relu', 1), ('identity', 1)))",
        SMALL.to_json(),
    ],
)
def test_all_notations_parse_to_the_same_genotype(text: str) -> None:
    assert Genotype.parse(text) == SMALL
    assert parse_genotype(text) == SMALL
    assert find_genotype(text) == ("given", SMALL)


@pytest.mark.parametrize(
    ("name", "text"),
    [
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
        assert 55 < float(entry.result) < 59
