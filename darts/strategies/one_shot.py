"""The weights of a searched supernet instead of a training.

References:
    Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018.
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4: the statistics of batch norm are computed anew for each path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from darts.registry import number
from darts.strategies.judge import EVALUATIONS, Candidate, Evaluation, Tools


@EVALUATIONS.register
@dataclass
class Supernet(Evaluation):
    """Score the genotype's path through a supernet.

    Attributes:
        checkpoint: directory of the search, or its checkpoint. ``method=random_sharing`` trains
            supernets made for this.
        calibration: batches of training data from which batch norm takes its statistics.
    """

    name: str = "supernet"
    checkpoint: str = "???"
    calibration: int = number(10, low=1)
    needs_genotype: ClassVar[bool] = True

    def __call__(self, candidate: Candidate, tools: Tools) -> Mapping[str, Any]:
        return tools.inherited(self.checkpoint, candidate.genotype, self.calibration)
