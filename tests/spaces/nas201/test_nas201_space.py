"""The NAS-Bench-201 space: derivation, points, sampling and the pieces of its network."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from torch import Tensor

from darts.spaces.nas201 import PRIMITIVES, Genotype, Nas201, Network
from darts.spaces.parameters import Parameters
from darts.training.cost import count_macs, count_parameters

SPACE = Nas201()
CANDIDATES = {"cell": (PRIMITIVES,) * 6}


def test_the_most_probable_operation_is_derived_including_none() -> None:
    names = ("none", "avg_pool_3x3", "nor_conv_1x1", "none", "skip_connect", "nor_conv_3x3")
    table = torch.full((6, 5), 0.1)
    for edge, name in enumerate(names):
        table[edge, PRIMITIVES.index(name)] = 0.6
    assert SPACE.derive({"cell": table}, CANDIDATES) == Genotype.from_operations(*names)


def test_ties_go_to_the_lower_column() -> None:
    assert SPACE.derive({"cell": torch.full((6, 5), 0.2)}, CANDIDATES).count("none") == 6


def test_edges_may_have_different_candidates() -> None:
    rows = [("nor_conv_1x1", "none"), ("avg_pool_3x3", "skip_connect")] * 3
    table = torch.tensor([[0.9, 0.1], [0.2, 0.8]] * 3)
    actual = SPACE.derive({"cell": table.requires_grad_()}, {"cell": rows})
    assert actual.operations == ("nor_conv_1x1", "skip_connect") * 3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(5, 5), r"have shape \(5, 5\), not \(6 edges, 5 operations\)"),
        (torch.zeros(6, 6), r"have shape \(6, 6\), not \(6 edges, 5 operations\)"),
        (torch.zeros(2, 6, 5), "have shape"),
        (torch.full((6, 5), float("nan")), "not finite"),
        (torch.full((6, 5), 1.2), "not within 0 and 1"),
        (torch.full((6, 5), -0.1), "not within 0 and 1"),
    ],
)
def test_invalid_probabilities_are_rejected(table: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.derive({"cell": table}, CANDIDATES)


def test_invalid_groups_and_candidates_are_rejected() -> None:
    table = torch.zeros(6, 5)
    with pytest.raises(ValueError, match=r"probabilities: groups \['normal'\] must be \['cell'\]"):
        SPACE.derive({"normal": table}, CANDIDATES)
    with pytest.raises(ValueError, match="candidates: groups"):
        SPACE.derive({"cell": table}, {})
    with pytest.raises(ValueError, match="6 non-empty rows of equal length"):
        SPACE.derive({"cell": table}, {"cell": (PRIMITIVES,) * 5})
    with pytest.raises(ValueError, match="unknown operation 'a'"):
        SPACE.derive({"cell": table}, {"cell": (tuple("abcde"),) * 6})


def test_draws_are_uniform_and_use_only_the_generator() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [SPACE.random(generator) for _ in range(2000)]
    for edge in range(6):
        counts = Counter(genotype.operations[edge] for genotype in drawn)
        assert set(counts) == set(PRIMITIVES)
        assert all(abs(count - 400) < 90 for count in counts.values())  # five standard deviations
    torch.rand(3)
    generator.manual_seed(0)
    assert [SPACE.random(generator) for _ in range(5)] == drawn[:5]


def test_each_edge_has_one_parameter() -> None:
    assert [parameter.name for parameter in SPACE.parameters()] == [
        *("0>1", "0>2", "1>2", "0>3", "1>3", "2>3")
    ]
    point = SPACE.encode(Genotype.from_index(7777))
    assert tuple(point.values()) == Genotype.from_index(7777).operations
    with pytest.raises(ValueError, match="unknown operation 'nor_conv_5x5'"):
        SPACE.decode({**point, "1>3": "nor_conv_5x5"})


def test_neighbors_differ_in_one_operation() -> None:
    genotype = Genotype.from_index(7777)
    near = Parameters(SPACE.parameters()).neighbors(SPACE.encode(genotype), Random(0))
    actual = [SPACE.decode(point) for point in near]
    everything = map(Genotype.from_index, range(15625))
    expected = {
        other
        for other in everything
        if sum(a != b for a, b in zip(genotype.operations, other.operations, strict=True)) == 1
    }
    assert set(actual) == expected
    assert len(actual) == len(expected) == 24


@pytest.mark.parametrize(("seed", "sides"), [(0, (8, 8)), (1, (9, 13)), (2, (32, 32))])
def test_parameters_and_macs_of_pieces_add_up(seed: int, sides: tuple[int, int]) -> None:
    genotype = SPACE.random(torch.Generator().manual_seed(seed))
    sizes: dict[str, int] = {"channels": 4, "cells": 2, "classes": 7, "in_channels": 2}
    columns = [PRIMITIVES.index(name) for name in genotype.operations]
    parameters = macs = places = 0
    for piece in Nas201(channels=4, cells=2).pieces(classes=7, sample_shape=(2, *sides)):
        places += piece.place is not None
        if piece.place is not None and columns[piece.place[1]] != piece.place[2]:
            continue
        module = piece.make()
        parameters += count_parameters(module.parameters())
        macs += count_macs(module, torch.zeros(1, *piece.shape))
    net = Network(genotype, **sizes)
    assert places == 6 * 6 * 5
    assert parameters == count_parameters(net.parameters())
    assert macs == count_macs(net, torch.zeros(1, 2, *sides))


def test_a_list_limits_supernet_random_genotypes_and_points() -> None:
    names = ["nor_conv_3x3", "skip_connect", "none"]
    space = Nas201(channels=2, cells=1, candidates=names)
    net = space.supernet(classes=3, in_channels=3)
    assert net.candidates == {"cell": (tuple(names),) * 6}
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    generator = torch.Generator().manual_seed(0)
    drawn = [space.random(generator) for _ in range(300)]
    assert {name for genotype in drawn for name in genotype.operations} == set(names)
    assert len(set(drawn)) > 200  # of 3 ** 6 = 729
    assert all(space.decode(space.encode(genotype)) == genotype for genotype in drawn)
    pool = Genotype.from_operations(*("avg_pool_3x3",) * 6)
    with pytest.raises(ValueError, match="avg_pool_3x3 is not a candidate of the edge from 0 to 1"):
        space.encode(pool)


def test_all_operations_are_drawn_as_by_the_index() -> None:
    ours, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for _ in range(20):
        index = int(torch.randint(5**6, (), generator=theirs))
        assert Nas201().random(ours) == Genotype.from_index(index)


def test_unknown_and_repeated_candidates_are_refused() -> None:
    for names, problem in ((["conv"], "'conv' is unknown"), (["none", "none"], "more than once")):
        with pytest.raises(ValueError, match=problem):
            Nas201(candidates=names)
