"""Discretization by evolution: the best architecture by scores with the weights of the supernet.

References:
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4 and algorithm 1: evolution with recomputed statistics of batch
    norm and hard limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import torch

from darts.methods.discretization import DISCRETIZATIONS, TRIES, Discretization, SearchedSupernet
from darts.registry import number
from darts.spaces import AnyGenotype, SearchContext, Space
from darts.spaces.context import GenotypeLimit
from darts.spaces.parameters import Parameters, Point


@DISCRETIZATIONS.register
@dataclass
class Evolution(Discretization):
    """The best of many architectures, most of which are children of the best ones before.

    A child is a mutation of a parent, or half of the time a crossover of two. In a search for a
    front, each architecture belongs to one of the budgets, in turn: it is within the budget, and so
    are its parents. If a finished search continues with other budgets, a budget without an
    architecture gets one.

    Attributes:
        samples: Number of architectures.
        population: Number of random ones at the beginning, and of the best ones, the parents.
        batches: Validation batches of each score; 0 for all.
    """

    reads_alphas: ClassVar[bool] = False
    fills_budgets: ClassVar[bool] = True
    name: str = "evolution"
    samples: int = number(200, low=1)
    population: int = number(20, low=2)
    batches: int = number(0, low=0)

    def final_genotype(self, trained: SearchedSupernet) -> AnyGenotype:
        space, state = trained.context.space, trained.state
        if "texts" not in state:
            # Architectures and their scores so far.
            state.update(seed=int(torch.randint(2**31, ())), texts=[], scores=[])
        texts: list[str] = state["texts"]
        scores: list[float] = state["scores"]
        done = f" ({len(scores)} scored before the interrupt)" if scores else ""
        trained.info(f"scoring up to {self.samples} architectures with shared weights{done}")
        genotypes = [space.genotype.parse(text) for text in texts]
        limits: list[GenotypeLimit | None] = [*trained.context.budgets]
        limits = limits or [trained.context.limit]

        def is_empty(limit: GenotypeLimit | None) -> bool:
            return limit is not None and not any(map(limit.allows, genotypes))

        while len(scores) < self.samples or any(map(is_empty, limits)):
            # A draw depends on its number only, so that a resumed evolution repeats it.
            random = Random(f"{state['seed']}-{len(scores)}")
            scored = list(zip(genotypes, scores, strict=True))
            turn = len(scores) % len(limits)
            in_turn = sorted([*limits[turn:], *limits[:turn]], key=is_empty, reverse=True)
            new = (self._next(trained.context, limit, scored, random) for limit in in_turn)
            genotype = next((found for found in new if found is not None), None)
            if genotype is None:  # all within the limits are known
                break
            genotypes.append(genotype)
            scores.append(trained.score_path(genotype, self.batches))
            texts.append(genotype.to_json())
            trained.save_if_due()
        trained.save()
        return genotypes[scores.index(max(scores))]

    def _next(
        self,
        context: SearchContext,
        limit: GenotypeLimit | None,
        scored: list[tuple[AnyGenotype, float]],
        random: Random,
    ) -> AnyGenotype | None:
        """Return a new genotype within the limits; None if many tries find none."""
        space, known = context.space, {genotype.canonical() for genotype, _ in scored}
        own = [pair for pair in scored if limit is None or limit.allows(pair[0])]
        if limit is not None and not own:  # random ones are rarely within tight limits
            derived = space.derive(limit.restrict(context.uniform()), context.candidates)
            # A latency model may predict more for the canonical form.
            return derived.canonical() if limit.allows(derived.canonical()) else derived
        parameters = Parameters(space.parameters())
        best = sorted(own, key=lambda pair: -pair[1])[: self.population]
        parents = [space.encode(genotype) for genotype, _ in best]
        for attempt in range(2 * TRIES):
            explores = not parents or (len(own) < self.population and attempt < TRIES)
            point = parameters.draw(random) if explores else _child(parameters, parents, random)
            genotype = space.decode(point).canonical()
            if genotype not in known and (limit is None or limit.allows(genotype)):
                return genotype
        return None


def _child(parameters: Parameters, parents: list[Point], random: Random) -> Point:
    mother, father = random.choices(parents, k=2)
    if random.random() < 0.5:
        return parameters.mutate(mother, random)
    return parameters.crossover(mother, father, random)


def best_within(limit: GenotypeLimit, state: Mapping[str, Any], space: Space) -> AnyGenotype:
    """Return the best architecture of an evolution within limits that it has filled."""
    genotypes = (space.genotype.parse(text) for text in state["texts"])
    own = [pair for pair in zip(state["scores"], genotypes, strict=True) if limit.allows(pair[1])]
    return max(own, key=lambda pair: pair[0])[1]
