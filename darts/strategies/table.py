"""A benchmark's table instead of a training.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from darts.registry import number
from darts.strategies.judge import EVALUATIONS, Candidate, Evaluation, Tools


@EVALUATIONS.register
@dataclass
class Table(Evaluation):
    """Look the validation accuracy up.

    Attributes:
        split: of the table.
        epochs: of the training that it tells of; a short one is what a search can afford.
    """

    name: str = "table"
    split: str = "val"
    epochs: int = number(12, low=1)
    needs_genotype: ClassVar[bool] = True
    space: ClassVar[str | None] = "nas201"
    metrics: ClassVar[tuple[str, ...] | None] = ("accuracy",)

    def __call__(self, candidate: Candidate, tools: Tools) -> Mapping[str, Any]:
        accuracy = tools.known(candidate.genotype, split=self.split, epochs=self.epochs)
        return {"valid_accuracy": accuracy / 100}
