"""Sampling: the best of many random architectures, scored with the shared weights.

References:
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch

from darts.methods.discretization import DISCRETIZATIONS, Discretization, SearchedSupernet
from darts.registry import number
from darts.spaces import AnyGenotype, SearchContext

TRIES = 100
"""Random architectures to draw for each one that is within hard limits."""


@DISCRETIZATIONS.register
@dataclass
class Sampling(Discretization):
    """The best of many random architectures: all are scored on a few batches, the best on all.

    The architectures are divided into equally large rounds. Each round has its own finalists, as in
    the authors' code.
    """

    reads_alphas: ClassVar[bool] = False
    name: str = "sampling"
    samples: int = number(1000, low=1)
    batches: int = number(1, low=1)  # validation batches of the first score
    finalists: int = number(10, low=1)  # of each round, scored on all validation data
    rounds: int = number(1, low=1)

    def final_genotype(self, trained: SearchedSupernet) -> AnyGenotype:
        space, state = trained.context.space, trained.state
        if "genotypes" not in state:
            samples = _draw(trained.context, self.samples)
            texts = dict.fromkeys(genotype.to_json() for genotype in samples)
            # The scores so far: on a few batches, and of the finalists on all data.
            state.update(genotypes=list(texts), first=[], final=[])
        genotypes = [space.parse(text) for text in state["genotypes"]]
        first_scores: list[float] = state["first"]
        final_scores: list[float] = state["final"]
        done = f" ({len(first_scores)} scored before the interrupt)" if first_scores else ""
        trained.info(f"scoring {len(genotypes)} random architectures with shared weights{done}")
        _score_missing(trained, genotypes, self.batches, first_scores)
        order = self._finalists_of(first_scores)
        _score_missing(trained, [genotypes[i] for i in order], 0, final_scores)
        trained.save()
        return genotypes[order[max(range(len(order)), key=final_scores.__getitem__)]]

    def _finalists_of(self, scores: Sequence[float]) -> list[int]:
        """Return the indices of the finalists of each round, in the order of their scores."""
        size = math.ceil(len(scores) / self.rounds)
        indices = range(len(scores))
        rounds = [indices[start : start + size] for start in range(0, len(scores), size)]
        return [
            index
            for part in rounds
            for index in sorted(part, key=lambda i: -scores[i])[: self.finalists]
        ]


def _draw(context: SearchContext, samples: int) -> list[AnyGenotype]:
    """Draw genotypes within the limits; fewer than ``samples`` if these are rare.

    If none is within the limits, the result is the best one by uniform probabilities.
    """
    space, limit = context.space, context.limit
    if limit is None:
        return [space.random(torch.default_generator) for _ in range(samples)]
    drawn = (space.random(torch.default_generator) for _ in range(TRIES * samples))
    fitting = list(islice((genotype for genotype in drawn if limit.allows(genotype)), samples))
    return fitting or [context.derive(context.uniform())]


def _score_missing(
    trained: SearchedSupernet, genotypes: Sequence[AnyGenotype], batches: int, scores: list[float]
) -> None:
    """Append the scores of the genotypes that have none yet."""
    context = trained.context
    for genotype in genotypes[len(scores) :]:
        with context.masked(context.space.mask(genotype, context.candidates)):
            scores.append(trained.score(batches))
        trained.save_if_due()
