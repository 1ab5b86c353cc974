"""The plain way: train it, as long as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from darts.strategies.judge import EVALUATIONS, Candidate, Evaluation, Tools


@EVALUATIONS.register
@dataclass
class Train(Evaluation):
    """Run the trial's command and take its validation scores."""

    name: str = "train"
    trains: ClassVar[bool] = True
    costs: ClassVar[tuple[str, ...]] = (
        *("parameters", "macs", "flops", "seconds", "joules", "gco2e"),
    )

    def __call__(self, candidate: Candidate, tools: Tools) -> Mapping[str, Any]:
        return tools.train(candidate)
