"""Strategies on small spaces: all genotypes are reachable, and each proposal is a valid one."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from darts.spaces import macro, mlp
from darts.spaces.parameters import Parameters, point_key
from darts.strategies import STRATEGIES, Setup
from darts.strategies.point_sampler import Observation

SMALL: dict[str, Any] = {
    "macro": macro.Macro(cells=1),
    "mlp": mlp.Mlp(cells=2, widths=[4, 8], activations=["relu", "tanh"]),
}


@pytest.mark.parametrize("space_name", SMALL)
@pytest.mark.parametrize("name", ["random", "greedy", "evolution"])
def test_every_genotype_of_a_small_space_is_proposed(space_name: str, name: str) -> None:
    """The scores are random; some trials fail and some are still running."""
    space = SMALL[space_name]
    parameters = Parameters(space.parameters())
    every = {space.decode(point) for point in parameters.points(2)}
    options = {"population": 5, "tournament": 1} if name == "evolution" else {}
    strategy, history = STRATEGIES[name](**options), []
    for number in range(4 * len(every)):
        random = Random(f"1 {number}")
        point, attributes = strategy.propose(Setup(parameters, 1), history, random)
        loss = None if random.random() < 0.1 else random.choice([random.random(), float("inf")])
        history.append(Observation(point, point_key(point), loss, attributes=attributes))
    assert {space.decode(observation.point) for observation in history} == every
