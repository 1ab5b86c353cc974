"""Judges: components that score a point by a run, cheaper measurements or a table.

``darts.judging.one_shot`` and ``darts.judging.nas201_table`` cite the papers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from darts.registry import Registry, choice, number
from darts.spaces import AnyGenotype

JUDGES: Registry[Judge] = Registry("judge", "darts.strategies")

EpochCallback = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrialSpec:
    """The trial that a judge scores.

    Attributes:
        on_epoch: Called after each epoch with the epoch, counted from 1, and its validation
            scores; it raises to stop the trial.
    """

    overrides: tuple[str, ...]  # all overrides of the trial's command
    genotype: AnyGenotype | None  # None if the study does not vary the architecture
    directory: Path  # run directory
    on_epoch: EpochCallback = lambda epoch, scores: None

    @property
    def architecture(self) -> AnyGenotype:
        """The genotype of a study that varies the architecture."""
        assert self.genotype is not None
        return self.genotype


class JudgeTools(Protocol):
    """Operations that judges need from higher layers; ``darts.hpo.trial_tools`` implements them."""

    def train(self, trial: TrialSpec) -> Mapping[str, object]:
        """Run the trial's command in its directory and return its summary."""

    def table_accuracy(self, genotype: AnyGenotype, *, split: str, epochs: int) -> float:
        """Return the accuracy of an architecture in the benchmark table, in percent."""

    def supernet_scores(
        self, checkpoint: str, genotype: AnyGenotype, calibration: int
    ) -> Mapping[str, float]:
        """Return validation scores such as ``valid_accuracy`` with the weights of a supernet."""

    def training_free_scores(
        self, trial: TrialSpec, names: Sequence[str], samples: int
    ) -> Mapping[str, float]:
        """Return scores of the untrained network, by name, for batches of ``samples`` samples."""


@dataclass
class Judge(ABC):
    """A component that scores a point."""

    name: str = ""
    needs_genotype: ClassVar[bool] = False  # whether it scores architectures only
    trains: ClassVar[bool] = False  # whether it runs the trial's command
    metrics: ClassVar[tuple[str, ...] | None] = None  # metrics that it returns; None for all
    costs: ClassVar[tuple[str, ...]] = ()  # costs that it returns
    absolute: ClassVar[bool] = True  # whether scores are metrics, or only rank architectures

    def ranked_scores(self, metric: str) -> tuple[str, ...]:
        """Return the names of the scores whose ranks order architectures, larger is better."""
        return (f"valid_{metric}",)

    @abstractmethod
    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        """Return scores such as ``valid_accuracy`` and costs such as ``seconds``, by name."""


@JUDGES.register
@dataclass
class TrainingJudge(Judge):
    """Run the trial's command and use its validation scores."""

    name: str = "train"
    trains: ClassVar[bool] = True
    costs: ClassVar[tuple[str, ...]] = ("parameters", "macs", "flops", "seconds", "joules", "gco2e")

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        return tools.train(trial)


@JUDGES.register
@dataclass
class SupernetJudge(Judge):
    """Score the path of the genotype in a trained supernet.

    Attributes:
        checkpoint: Run directory or checkpoint of a search. ``method=random_sharing`` trains
            supernets for this purpose.
        calibration: Number of training batches from which the batch norm statistics are recomputed.
    """

    name: str = "supernet"
    checkpoint: str = "???"
    calibration: int = number(10, low=1)
    needs_genotype: ClassVar[bool] = True

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        return tools.supernet_scores(self.checkpoint, trial.architecture, self.calibration)


@JUDGES.register
@dataclass
class TrainingFreeJudge(Judge):
    """Score the untrained network; several scores are combined by their ranks.

    Attributes:
        scores: Names of ``darts.judging.training_free.SCORES``.
        samples: Samples per batch.
        combination: How several scores become one: the sum of the logarithms of their ranks, or a
            predictor that learns from the truth of some architectures.
    """

    name: str = "training_free"
    scores: list[str] = field(default_factory=list)
    samples: int = number(32, low=2)
    combination: str = choice("ranks", "ranks", "predictor")
    needs_genotype: ClassVar[bool] = True
    absolute: ClassVar[bool] = False

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        return tools.training_free_scores(trial, self.scores, self.samples)

    def ranked_scores(self, metric: str) -> tuple[str, ...]:
        return tuple(self.scores)


@JUDGES.register
@dataclass
class TableJudge(Judge):
    """Read the validation accuracy from a benchmark table.

    Attributes:
        split: Split in the name of the table's column, see ``darts.judging.benchmark``.
        epochs: Epochs of training after which the accuracy was measured. The default is 12 and not
            200, because a study that trains could not afford 200 epochs per architecture.
            NAS-Bench-Macro has only ``split="test"`` after 50 epochs.
    """

    name: str = "table"
    split: str = "val"
    epochs: int = number(12, low=1)
    needs_genotype: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...] | None] = ("accuracy",)

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        accuracy = tools.table_accuracy(trial.architecture, split=self.split, epochs=self.epochs)
        return {"valid_accuracy": accuracy / 100}
