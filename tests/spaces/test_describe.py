"""Display names of cells and states, and differences of genotypes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from darts.spaces import Genotype, nas201, space_of
from darts.spaces.describe import cell_name, difference, is_chain, state_name

V2 = Genotype((("none", 0), ("none", 1)), (2,), (("skip_connect", 1), ("none", 1)), (2,))


def chain(*blocks: str) -> Any:
    genotype = SimpleNamespace(
        cells=("blocks",),
        inputs=1,
        nodes=lambda cell: len(blocks),
        concat=lambda cell: (len(blocks),),
        edges=lambda cell: [(i, i + 1, name) for i, name in enumerate(blocks)],
    )
    genotype.canonical = lambda: genotype
    return genotype


def test_names_of_states_and_cells() -> None:
    assert [state_name(state) for state in range(4)] == ["c_{k-2}", "c_{k-1}", "node 0", "node 1"]
    assert [state_name(state, 1) for state in range(2)] == ["node 0", "node 1"]
    assert cell_name(V2, "reduce") == "reduce cell"
    assert cell_name(nas201.Genotype.from_index(0), "cell") == "cell"


def test_only_a_sequence_of_operations_is_a_chain() -> None:
    assert is_chain(chain("a", "b"), "blocks")
    assert not is_chain(nas201.Genotype.from_index(0), "cell")
    assert not is_chain(V2, "reduce")  # its edges are in sequence, but it has two inputs


def test_difference_of_nas201_genotypes() -> None:
    a = nas201.Genotype.from_operations(
        "none", "none", "skip_connect", "none", "none", "nor_conv_3x3"
    )
    b = nas201.Genotype.from_operations("none", "none", "none", "none", "none", "nor_conv_1x1")
    assert difference(a, b) == [
        "cell, node 2: skip_connect from node 1 vs. none from node 1",
        "cell, node 3: nor_conv_3x3 from node 2 vs. nor_conv_1x1 from node 2",
    ]


def test_difference_of_chains_omits_sources() -> None:
    assert difference(chain("a", "b", "c"), chain("a", "d")) == [
        "blocks: 3 nodes vs. 2",
        "blocks, node 2: b vs. d",
        "blocks, node 3: c vs. no edge",
    ]


def test_difference_rejects_genotypes_of_different_spaces() -> None:
    with pytest.raises(ValueError, match="one has the cells normal, reduce, the other cell") as e:
        difference(V2, nas201.Genotype.from_index(0))
    assert "\n" not in str(e.value)


def test_space_of_returns_the_reference_size() -> None:
    cnn = space_of(V2)
    assert (cnn.name, cnn.channels, cnn.cells) == ("cnn", 36, 20)
    benchmark = space_of(nas201.Genotype.from_index(7))
    assert (benchmark.name, benchmark.channels, benchmark.cells) == ("nas201", 16, 5)
