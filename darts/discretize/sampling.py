"""The best of many random architectures by the score that the shared weights give them.

References:
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from darts.discretize.discretiser import DISCRETISERS, Discretiser, Trained
from darts.parts import number


@DISCRETISERS.register
@dataclass
class Sampling(Discretiser):
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
        space = trained.setting.space
        drawn = [space.random(torch.default_generator) for _ in range(self.samples)]
        genotypes = list({genotype.to_json(): genotype for genotype in drawn}.values())
        trained.say(f"scoring {len(genotypes)} random architectures with the shared weights")
        first = [self._score(trained, genotype, self.batches) for genotype in genotypes]
        order = sorted(range(len(genotypes)), key=lambda i: -first[i])[: self.finalists]
        final = [self._score(trained, genotypes[i], 0) for i in order]
        return genotypes[order[max(range(len(order)), key=final.__getitem__)]]

    def _score(self, trained: Trained, genotype: Any, batches: int) -> float:
        setting = trained.setting
        before = dict(setting.kept)
        setting.kept.update(setting.space.mask(genotype, setting.candidates))
        try:
            return trained.score(batches)
        finally:
            setting.kept.clear()
            setting.kept.update(before)
