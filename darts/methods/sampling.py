"""The best of many random architectures by the score that the shared weights give them.

References:
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from darts.methods.discretization import DISCRETISERS, Discretization, Masks, Trained, Work
from darts.registry import number
from darts.spaces.context import SearchContext


@DISCRETISERS.register
@dataclass
class Sampling(Discretization):
    """Draw architectures, score all on a few batches, and the best of them on all.

    Attributes:
        samples: architectures drawn.
        batches: of validation data for the first score.
        finalists: how many are scored on all validation data.
    """

    name: str = "sampling"
    samples: int = number(1000, low=1)
    batches: int = number(1, low=1)
    finalists: int = number(10, low=1)

    def final(self, trained: Trained) -> Any:
        space, state = trained.context.space, trained.state
        if "genotypes" not in state:
            drawn = [space.random(torch.default_generator) for _ in range(self.samples)]
            texts = dict.fromkeys(genotype.to_json() for genotype in drawn)
            state.update(genotypes=list(texts), first=[], final=[])
        genotypes = [space.parse(text) for text in state["genotypes"]]
        first: list[float] = state["first"]
        final: list[float] = state["final"]
        done = f" ({len(first)} are scored already)" if first else ""
        trained.say(f"scoring {len(genotypes)} random architectures with the shared weights{done}")
        self._go_on(trained, genotypes, self.batches, first)
        order = sorted(range(len(genotypes)), key=lambda i: -first[i])[: self.finalists]
        self._go_on(trained, [genotypes[i] for i in order], 0, final)
        trained.save()
        return genotypes[order[max(range(len(order)), key=final.__getitem__)]]

    def work(self, context: SearchContext) -> list[Work]:
        def one() -> Masks:
            return context.space.mask(
                context.space.random(torch.default_generator), context.candidates
            )

        finalists = min(self.finalists, self.samples)
        return [
            Work(one, scores=self.samples, batches=self.batches),
            Work(one, scores=finalists, batches=0),
        ]

    def _go_on(
        self, trained: Trained, genotypes: Sequence[Any], batches: int, scores: list[float]
    ) -> None:
        """Score those that have no score yet."""
        for genotype in genotypes[len(scores) :]:
            scores.append(self._score(trained, genotype, batches))
            trained.pause()

    def _score(self, trained: Trained, genotype: Any, batches: int) -> float:
        context = trained.context
        with context.keeping(context.space.mask(genotype, context.candidates)):
            return trained.score(batches)
