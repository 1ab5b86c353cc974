"""Genetic search: regularized evolution with mutation and crossover.

The population is what was finished last, so that everybody dies of age, however good. A child comes
from the best of a few drawn at random: its parameters are crossed with those of a second parent, or
one of them is changed. Both keep to the conditions of the space, so that every child is a valid
point, and every point of a genotype's parameters a valid genotype.

References:
    Real et al., "Regularized Evolution for Image Classifier Architecture Search",
    arXiv:1802.01548, algorithm 1 (mutation only).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from optuna.samplers import BaseSampler

from darts.registry import number
from darts.spaces.parameters import Point
from darts.strategies.strategy import STRATEGIES, Proposer, Setup, Strategy, Tried


class Breeder(Proposer):
    """Children of the youngest."""

    def __init__(self, setup: Setup, options: Evolution) -> None:
        super().__init__(setup)
        self.options = options

    def propose(self, tried: Sequence[Tried], draw: Random) -> tuple[Point, dict[str, Any]]:
        born = [one for one in tried if one.loss is not None]
        if len(tried) < self.options.population or not born:
            return self.untried(tried, draw, lambda: self.space.draw(draw)), {}
        population = born[-self.options.population :]

        def parent() -> Point:
            size = min(self.options.tournament, len(population))
            return min(draw.sample(population, size), key=lambda one: one.order).point

        def child() -> Point:
            if draw.random() < self.options.crossover:
                crossed = self.space.crossed(parent(), parent(), draw)
                return self.space.mutated(crossed, draw) if draw.random() < 0.5 else crossed
            return self.space.mutated(parent(), draw)

        return self.untried(tried, draw, child), {}


@STRATEGIES.register
@dataclass
class Evolution(Strategy):
    """Regularized evolution.

    Attributes:
        population: how many, drawn at random, it begins with, and how many may be parents.
        tournament: of how many the best becomes a parent.
        crossover: probability that a child has two parents; half of these are mutated as well.
    """

    name: str = "evolution"
    population: int = number(20, low=2)
    tournament: int = number(10, low=1)
    crossover: float = number(0.3, low=0, high=1)

    def sampler(self, setup: Setup) -> BaseSampler:
        return Breeder(setup, self)
