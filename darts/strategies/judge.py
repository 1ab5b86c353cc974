"""What evaluations have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from darts.registry import Registry

EVALUATIONS = Registry("evaluation", "darts.strategies")

Watch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Candidate:
    """What is to be evaluated.

    Attributes:
        overrides: of the command that a trial runs, all of them.
        genotype: the architecture, where it is searched for.
        directory: for whatever the trial writes.
        watch: is called with each epoch, from 1, and its validation scores; it raises to stop.
    """

    overrides: tuple[str, ...]
    genotype: Any
    directory: Path
    watch: Watch


class Tools(Protocol):
    """What an evaluation may use of the world above it."""

    def train(self, candidate: Candidate) -> Mapping[str, Any]:
        """Run the trial's command; its summary."""
        ...

    def known(self, genotype: Any, *, split: str, epochs: int) -> float:
        """Accuracy in percent by the benchmark's table."""
        ...

    def inherited(self, checkpoint: str, genotype: Any, calibration: int) -> Mapping[str, float]:
        """Validation scores of a genotype with the weights of a searched supernet."""
        ...


@dataclass
class Evaluation(ABC):
    """A way to score a point.

    Attributes:
        needs_genotype: whether it knows architectures only.
        space: the one whose architectures it knows; None for any.
        trains: whether it runs the trial's command, so that a trial has epochs.
        metrics: those of the task that it tells; None for all.
        costs: that it tells.
    """

    name: str = ""
    needs_genotype: ClassVar[bool] = False
    space: ClassVar[str | None] = None
    trains: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...] | None] = None
    costs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, candidate: Candidate, tools: Tools) -> Mapping[str, Any]:
        """Scores by name, ``valid_accuracy`` say, and costs: ``seconds``, ``joules``, ..."""
