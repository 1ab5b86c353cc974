"""Regularized evolution with mutation and crossover.

The population consists of the latest finished trials, so every trial leaves it at a certain age,
whatever its score. A parent is the best of a few trials drawn from the population. A child is a
mutated parent, or a crossover of two parents. Mutation and crossover respect the conditions of the
space: every child is a valid point, and every point of an architecture is a valid genotype.

References:
    Real et al., "Regularized Evolution for Image Classifier Architecture Search",
    arXiv:1802.01548, algorithm 1 (mutation only).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from darts.registry import number
from darts.spaces.parameters import Point
from darts.strategies.point_sampler import History, Proposal, ProposalStrategy, new_point
from darts.strategies.strategy import STRATEGIES, Setup


@STRATEGIES.register
@dataclass
class Evolution(ProposalStrategy):
    """Regularized evolution.

    Attributes:
        population: Number of random points at the start, and of trials that may be parents.
        tournament: Number of trials drawn at random; the best becomes a parent.
        crossover: Probability that a child has two parents; half of these children are mutated.
    """

    name: str = "evolution"
    population: int = number(20, low=2)
    tournament: int = number(10, low=1)
    crossover: float = number(0.3, low=0, high=1)

    def propose(self, setup: Setup, history: History, random: Random) -> Proposal:
        space = setup.space
        finished = [observation for observation in history if observation.loss is not None]
        if len(history) < self.population or not finished:
            return new_point(history, lambda: space.draw(random)), {}
        population = finished[-self.population :]

        def parent() -> Point:
            size = min(self.tournament, len(population))
            contestants = random.sample(population, size)
            return min(contestants, key=lambda observation: observation.sort_key).point

        def child() -> Point:
            if random.random() < self.crossover:
                crossed = space.crossover(parent(), parent(), random)
                return space.mutate(crossed, random) if random.random() < 0.5 else crossed
            return space.mutate(parent(), random)

        return new_point(history, child), {}
