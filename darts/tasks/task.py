"""What a task is: which data it learns from, its loss, and the scores it reports.

A task is a part, a dataclass whose fields are its options. What it needs to know of the data, it is
told when it makes its objective.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from darts.registry import Registry
from darts.tasks.metrics import Metric

TASKS = Registry("task", "darts.tasks")

Forward = Callable[..., Any]


class Scores(Protocol):
    """Gathers a split batch by batch."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The scores that this data has, by name."""
        ...

    def update(self, outputs: Any, batch: Any) -> None:
        """Add what a network said to a batch."""
        ...

    def compute(self) -> dict[str, float]:
        """Scores by name."""
        ...


class Objective(ABC):
    """A task on some data.

    What a batch holds is between the data set and the objective; ``outputs`` are the objective's
    own, and go from ``supernet_loss``, ``network_loss`` or ``predict`` to ``seen`` and the scores.

    Attributes:
        metrics: by name, all that the task may report.
    """

    metrics: Mapping[str, Metric]

    @abstractmethod
    def supernet_loss(self, forward: Forward, batch: Any) -> tuple[Tensor, Any]:
        """Loss, a scalar mean over the batch's samples, and outputs of a supernet."""

    @abstractmethod
    def network_loss(self, net: Any, batch: Any) -> tuple[Tensor, Any]:
        """Loss and outputs of a discrete network, with all that is added for its training."""

    @abstractmethod
    def predict(self, forward: Forward, batch: Any) -> Any:
        """Outputs in evaluation mode."""

    @abstractmethod
    def num_samples(self, batch: Any) -> int:
        """Over how many samples the loss of a batch is a mean."""

    @abstractmethod
    def train_metrics(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Scores of a training batch that cost next to nothing, scalars; the same names always."""

    @abstractmethod
    def scores(self, device: torch.device) -> Scores:
        """An empty collection of this task's scores."""

    def sample_outputs(self) -> str:
        """Samples of the last scoring that people would like to read, in Markdown; often none."""
        return ""

    def confusion_matrix(self) -> Tensor | None:
        """How many samples of each class (row) were taken for each (column) in the last scoring.

        None for what has no classes.
        """
        return None


@dataclass
class Task(ABC):
    """One thing that networks can be trained for.

    Attributes:
        reads: kinds of data sets that it learns from, see ``darts.data.SourceSpec.kind``.
        metrics: by name, all that it may report.
    """

    name: str = ""
    data_kinds: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[Mapping[str, Metric]] = {}

    @abstractmethod
    def objective(
        self, names: Sequence[str], *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> Objective:
        """The task on a data set.

        Args:
            names: of what is told apart: classes, words, ...
            label_smoothing: share of the target spread evenly over all of them, in training of
                discrete networks (Szegedy et al., arXiv:1512.00567, section 7).
            auxiliary: factor of the loss of an auxiliary head, for networks that have one.
        """
