"""Every own strategy on every space of architectures: what it proposes is a genotype, and each
genotype is proposed in the end."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.spaces import SPACES, macro, mlp
from darts.spaces.parameters import Parameters, key_of
from darts.strategies import STRATEGIES, Setup
from darts.strategies.strategy import PointSampler, Proposer, Tried

OWN = ("random", "greedy", "evolution", "grid")
SMALL: dict[str, Any] = {
    "macro": macro.Macro(cells=1),
    "mlp": mlp.Mlp(cells=2, widths=[4, 8], activations=["relu", "tanh"]),
}


def sampler_of(name: str, space: Parameters, seed: int = 0, **options: Any) -> Proposer:
    made = STRATEGIES[name](**options).sampler(Setup(space, seed))
    assert isinstance(made, Proposer)
    return made


def walk(sampler: Proposer, count: int, seed: int) -> list[Tried]:
    """So many proposals, each scored at random, some of them failed or still running."""
    tried: list[Tried] = []
    for number in range(count):
        draw = Random(f"{seed} {number}")
        point, marks = sampler.propose(tried, draw)
        loss = None if draw.random() < 0.1 else draw.choice([draw.random(), float("inf")])
        tried.append(Tried(point, key_of(point), loss, marks=marks))
    return tried


@pytest.mark.parametrize("place", SPACES)
@pytest.mark.parametrize("name", ["random", "greedy", "evolution"])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=4, deadline=None)
def test_proposals_are_genotypes(place: str, name: str, seed: int) -> None:
    space = SPACES[place]()
    parameters = Parameters(space.parameters())
    options = {"population": 4, "tournament": 2} if name == "evolution" else {}
    for one in walk(sampler_of(name, parameters, seed, **options), 30, seed):
        assert parameters.contains(one.point)
        assert space.encode(space.decode(one.point)) == one.point


@pytest.mark.parametrize("place", SPACES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_any_genotype_is_reached_by_changes_of_one_parameter(place: str, seed: int) -> None:
    """From any point: each step is one that greedy tries and a mutation may make."""
    space = SPACES[place]()
    parameters = Parameters(space.parameters())
    goal = space.encode(space.random(torch.Generator().manual_seed(seed)))
    here = parameters.draw(Random(seed))
    for parameter in parameters:
        if parameter.name not in goal or here[parameter.name] == goal[parameter.name]:
            continue
        value = goal[parameter.name]
        assert value in parameter.domain.neighbors(here[parameter.name])
        here = parameters.completed({**here, parameter.name: value}, Random(seed))
        assert space.encode(space.decode(here)) == here
    assert here == goal


@pytest.mark.parametrize("place", SMALL)
@pytest.mark.parametrize("name", ["random", "greedy", "evolution"])
def test_every_genotype_of_a_small_space_is_proposed(place: str, name: str) -> None:
    space = SMALL[place]
    parameters = Parameters(space.parameters())
    every = {space.decode(point) for point in parameters.points(2)}
    options = {"population": 5, "tournament": 1} if name == "evolution" else {}
    tried = walk(sampler_of(name, parameters, **options), 4 * len(every), seed=1)
    assert {space.decode(one.point) for one in tried} == every


@pytest.mark.parametrize("place", SMALL)
def test_a_grid_holds_every_genotype_once(place: str) -> None:
    space = SMALL[place]
    parameters = Parameters(space.parameters())
    sampler: Any = STRATEGIES["grid"]().sampler(Setup(parameters, 0))
    assert isinstance(sampler, PointSampler)
    genotypes = [space.decode(point) for point in sampler.points]
    assert len(genotypes) == len(set(genotypes)) == parameters.size(2)


@pytest.mark.parametrize("place", SPACES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_encode_and_decode_are_inverse(place: str, seed: int) -> None:
    space = SPACES[place]()
    parameters = Parameters(space.parameters())
    genotype = space.random(torch.Generator().manual_seed(seed))
    assert space.decode(space.encode(genotype)) == genotype
    point = parameters.draw(Random(seed))
    assert space.encode(space.decode(point)) == point
    assert parameters.contains(space.encode(genotype))
