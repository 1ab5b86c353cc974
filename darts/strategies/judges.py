"""Judges: components that score a point by a training, a supernet's weights or a table.

References:
    Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018.
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4: batch-norm statistics are recomputed for each path.
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326 (the table).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from darts.registry import Registry, number
from darts.spaces import AnyGenotype

JUDGES: Registry[Judge] = Registry("judge", "darts.strategies")

EpochCallback = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrialSpec:
    """The trial that a judge scores.

    Attributes:
        overrides: all overrides of the trial's command.
        genotype: the architecture, or None if the study does not vary it.
        directory: run directory of the trial.
        on_epoch: is called after each epoch with the epoch, counted from 1, and its validation
            scores; it raises to stop the trial.
    """

    overrides: tuple[str, ...]
    genotype: AnyGenotype | None
    directory: Path
    on_epoch: EpochCallback

    @property
    def architecture(self) -> AnyGenotype:
        """The genotype of a study that varies the architecture."""
        assert self.genotype is not None
        return self.genotype


class JudgeTools(Protocol):
    """Operations that judges need from the layers above."""

    def train(self, trial: TrialSpec) -> Mapping[str, object]:
        """Run the trial's command and return its summary."""
        ...

    def table_accuracy(self, genotype: AnyGenotype, *, split: str, epochs: int) -> float:
        """Return the accuracy of an architecture in the benchmark table, in percent."""
        ...

    def supernet_scores(
        self, checkpoint: str, genotype: AnyGenotype, calibration: int
    ) -> Mapping[str, float]:
        """Return the validation scores of a genotype with the weights of a supernet."""
        ...


@dataclass
class Judge(ABC):
    """A component that scores a point.

    Attributes:
        needs_genotype: whether it scores architectures only.
        space: name of the only space that it supports; None for any space.
        trains: whether it runs the trial's command, so that a trial has epochs.
        metrics: metrics that it returns; None for all metrics of the task.
        costs: costs that it returns.
    """

    name: str = ""
    needs_genotype: ClassVar[bool] = False
    space: ClassVar[str | None] = None
    trains: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...] | None] = None
    costs: ClassVar[tuple[str, ...]] = ()

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
    """Score the genotype's path through a trained supernet.

    Attributes:
        checkpoint: run directory or checkpoint of a search. ``method=random_sharing`` trains
            supernets for this purpose.
        calibration: training batches from which the batch-norm statistics are recomputed.
    """

    name: str = "supernet"
    checkpoint: str = "???"
    calibration: int = number(10, low=1)
    needs_genotype: ClassVar[bool] = True

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        return tools.supernet_scores(self.checkpoint, trial.architecture, self.calibration)


@JUDGES.register
@dataclass
class TableJudge(Judge):
    """Look up the validation accuracy in a benchmark table.

    Attributes:
        split: split in the name of the table's column, see ``nas201_table.Column``.
        epochs: epochs of the training behind the accuracy. The default, 12, is a short training
            as a search could afford it.
    """

    name: str = "table"
    split: str = "val"
    epochs: int = number(12, low=1)
    needs_genotype: ClassVar[bool] = True
    space: ClassVar[str | None] = "nas201"
    metrics: ClassVar[tuple[str, ...] | None] = ("accuracy",)

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        accuracy = tools.table_accuracy(trial.architecture, split=self.split, epochs=self.epochs)
        return {"valid_accuracy": accuracy / 100}
