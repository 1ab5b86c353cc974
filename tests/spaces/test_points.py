"""Every space as parameters: each genotype is one point, and each point a genotype."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
import torch

from darts.spaces import SPACES, cnn, macro, nas201
from darts.spaces.cnn.candidate_sets import CANDIDATE_SETS
from darts.spaces.genotype import Genotype
from darts.spaces.parameters import Parameters, key_of

PLACES: dict[str, Any] = {
    **{name: SPACES[name]() for name in SPACES},
    **{f"cnn-{name}": cnn.Cnn(candidates=name) for name in CANDIDATE_SETS},
    "macro-small": macro.Macro(cells=2),
}


@pytest.mark.parametrize("name", PLACES)
def test_random_genotypes_come_back(name: str) -> None:
    place = PLACES[name]
    space = Parameters(place.parameters())
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        genotype = place.random(generator)
        point = place.encode(genotype)
        assert space.contains(point)
        assert place.decode(point) == genotype


@pytest.mark.parametrize("name", PLACES)
def test_drawn_mutated_and_crossed_points_are_genotypes(name: str) -> None:
    place, draw = PLACES[name], Random(2)
    space = Parameters(place.parameters())
    point = space.draw(draw)
    for _ in range(100):
        child = space.mutated(point, draw)
        assert key_of(child) != key_of(point)
        other = space.draw(draw)
        for found in (child, other, space.crossed(child, other, draw)):
            assert space.contains(found)
            assert place.encode(place.decode(found)) == found
        point = child


def test_every_genotype_of_a_small_space_is_one_point() -> None:
    place = macro.Macro(cells=1)
    genotypes = [place.decode(point) for point in Parameters(place.parameters()).points(2)]
    assert len(set(genotypes)) == len(genotypes) == 6**3
    grid = Parameters(nas201.Nas201().parameters())
    indices = [nas201.decode(point).index for point in grid.points(2)]
    assert indices == list(range(15625))  # in the order of their numbers


def test_a_cell_of_two_nodes_has_as_many_points_as_pairs_and_operations_allow() -> None:
    """Both cells are alike and independent, so the points are a square of one cell's."""
    rows = dict.fromkeys(("normal", "reduce"), (("none", "skip_connect", "max_pool_3x3"),) * 5)
    space = Parameters(cnn.encoding.parameters(rows))
    # Node 2 has one pair, node 3 three; an operation of two on each of two edges.
    one = math.comb(2, 2) * 2**2 * math.comb(3, 2) * 2**2
    points = list(space.points(2))
    assert len(points) == one**2
    genotypes = {cnn.encoding.decode(point, rows) for point in points}
    assert len(genotypes) == one**2
    assert all(cnn.encoding.encode(genotype, rows) in points for genotype in list(genotypes)[::97])


def test_foreign_genotypes_are_refused() -> None:
    edges = tuple(("max_pool_3x3", source) for _ in range(4) for source in (0, 1))
    pools = Genotype(edges, (2, 3, 4, 5), edges, (2, 3, 4, 5))
    line = "max_pool_3x3 is no candidate of the edge from 0 to 2 of the normal cell"
    with pytest.raises(ValueError, match=line):
        cnn.Cnn(candidates="s2").encode(pools)
    with pytest.raises(
        ValueError, match=r"has 1 blocks per stage; set space\.cells=1"
    ):
        macro.Macro(cells=2).encode(macro.Genotype(("mb_k3_e3",) * 3))


def test_a_cell_that_takes_a_state_in_twice_or_leaves_one_out() -> None:
    twice = tuple(("skip_connect", 0) for _ in range(8))
    fine = tuple(("skip_connect", source) for _ in range(4) for source in (0, 1))
    whole = (2, 3, 4, 5)
    place = cnn.Cnn()
    with pytest.raises(ValueError, match="node 2 of the normal cell reads state 0 twice"):
        place.encode(Genotype(twice, whole, fine, whole))
    with pytest.raises(ValueError, match="the reduce cell must have 4 nodes and concatenate all"):
        place.encode(Genotype(fine, whole, fine, (2, 3)))
