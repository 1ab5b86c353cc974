"""NAS-Bench-201 genotypes: validation, notations, indices and draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from darts.spaces.nas201 import Genotype


def test_index_enumerates_the_architectures() -> None:
    assert Genotype.from_index(0) == Genotype.from_operations(*["none"] * 6)
    assert Genotype.from_index(15624) == Genotype.from_operations(*["avg_pool_3x3"] * 6)
    # The first edge counts most: 1 * 5**5, and 3 for the last edge.
    assert Genotype.from_index(3128).operations == (
        *("skip_connect", "none", "none", "none", "none", "nor_conv_3x3"),
    )
    assert len({Genotype.from_index(i) for i in range(0, 15625, 25)}) == 625
    assert all(Genotype.from_index(i).index == i for i in range(0, 15625, 77))


@pytest.mark.parametrize("index", [-1, 15625])
def test_invalid_indices_are_rejected(index: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        Genotype.from_index(index)


def paths(genotype: Genotype) -> list[list[str]]:
    """Return the operations on each path from the input to the output that has no ``none``."""
    operation = {(source, target): name for source, target, name in genotype.edges("cell")}
    found = []
    for states in ([0, 3], [0, 1, 3], [0, 2, 3], [0, 1, 2, 3]):
        edges = list(itertools.pairwise(states))
        if all(operation[edge] != "none" for edge in edges):
            found.append([f"{s}>{t}{operation[s, t]}" for s, t in edges])
    return found


def test_a_simplified_cell_has_the_same_paths_and_nothing_else() -> None:
    for index in range(0, 15_625, 7):
        genotype = Genotype.from_index(index)
        simplified = genotype.simplified()
        assert paths(simplified) == paths(genotype)
        on_paths = set(itertools.chain(*paths(simplified)))
        operations = [edge for edge in simplified.edges("cell") if edge[2] != "none"]
        assert all(f"{source}>{target}{name}" in on_paths for source, target, name in operations)
        assert simplified.simplified() == simplified


def test_cells_of_one_function_have_equal_outputs() -> None:
    """Convolutions become nonlinear functions of a number, the same on all edges.

    Cells with equal functions must then have equal outputs. Most others differ.
    """
    operations: dict[str, Callable[[float], float]] = {
        "none": lambda x: 0.0,
        "skip_connect": lambda x: x,
        "nor_conv_1x1": lambda x: math.sin(3 * x),
        "nor_conv_3x3": lambda x: x * math.cos(2 * x),
        "avg_pool_3x3": lambda x: 0.3 * x,
    }
    outputs: dict[str, float] = {}
    for index in range(0, 15_625, 3):
        genotype = Genotype.from_index(index)
        nodes = [0.7]
        for target in (1, 2, 3):
            edges = [(s, name) for s, t, name in genotype.edges("cell") if t == target]
            nodes.append(sum(operations[name](nodes[source]) for source, name in edges))
        output = outputs.setdefault(genotype.function, nodes[3])
        assert nodes[3] == pytest.approx(output, abs=1e-9)
    assert len({round(output, 9) for output in outputs.values()}) > 0.8 * len(outputs)


def test_two_convolutions_are_not_one_that_is_used_twice() -> None:
    cells = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
    )
    two, once, also_two = (Genotype(cell).function for cell in cells)
    assert two == also_two != once
