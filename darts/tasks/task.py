"""The interfaces of tasks and of their objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from torch import Tensor

from darts.data import Batch
from darts.data.targets import CLASSES, TargetScale
from darts.registry import Registry
from darts.spaces import NetworkBase
from darts.tasks.chance import ChanceLevel
from darts.tasks.metrics import Metric, Scores

TASKS: Registry[Task] = Registry("task", "darts.tasks")

# A forward pass; arguments and result depend on the task.
Forward = Callable[..., Any]

B = TypeVar("B", bound=Batch)
Output = TypeVar("Output")


class BaseObjective(ABC, Generic[B, Output]):
    """A task applied to one data set: computes losses, predictions and metrics.

    The type parameters are the types of a batch and of the output of ``predict``.

    Attributes:
        metrics: All metrics that the task can report for this data, by name.
    """

    def __init__(self, task: Task, spec: ObjectiveSpec) -> None:
        self.metrics = task.metrics
        self.target_names, self.label_smoothing = spec.target_names, spec.label_smoothing

    @abstractmethod
    def supernet_loss(self, forward: Forward, batch: B) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a supernet over a batch, a scalar, and its logits."""

    def alpha_loss(self, forward: Forward, batch: B) -> Tensor:
        """Return the loss that the alphas minimize, a scalar; by default that of the weights."""
        return self.supernet_loss(forward, batch)[0]

    @abstractmethod
    def network_loss(self, net: NetworkBase, batch: B) -> tuple[Tensor, Tensor]:
        """Return the training loss of a discrete network, with all extra terms, and its logits."""

    @abstractmethod
    def predict(self, forward: Forward, batch: B) -> Output:
        """Return the predictions for a batch, in evaluation mode."""

    @abstractmethod
    def num_samples(self, batch: B) -> int:
        """Return the number of samples, or of target tokens, that the loss of a batch averages."""

    def train_metrics(self, logits: Tensor, batch: B) -> dict[str, Tensor]:
        """Return cheap metrics of a training batch, scalars; the names never change."""
        return {}

    def scores(self) -> Scores:
        """Return empty scores."""
        return Scores(self)

    def sample_outputs(self) -> str:
        """Return example outputs of the last evaluation in Markdown; empty if there are none."""
        return ""

    def confusion_matrix(self) -> Tensor | None:
        """Return the confusion matrix of the last evaluation; None for tasks without classes.

        Rows are true classes, columns predicted classes, entries numbers of samples.
        """
        return None

    def chance_level(self, targets: Tensor) -> ChanceLevel | None:
        """Return what a network could score without its input; None if that is unknown.

        Args:
            targets: All targets of the scored data: classes, words or tokens ``(n,)`` int64, or
                labels or numbers ``(n, K)``.
        """
        return None


# An objective of any task.
Objective: TypeAlias = BaseObjective[Any, Any]


@dataclass(frozen=True)
class ObjectiveSpec:
    """The settings of an objective for a data set.

    Attributes:
        target_names: Names of the targets by index: classes, labels, numbers, words or tokens.
        label_smoothing: Share of the target that is spread evenly over all targets, in the training
            of discrete networks (Szegedy et al., arXiv:1512.00567, section 7).
        auxiliary: Factor of the loss of the auxiliary head, for networks that have one.
        scale: How the targets are standardized, for tasks whose targets are numbers.
        class_counts: Number of training samples of each class, for tasks with classes.
    """

    target_names: tuple[str, ...]
    label_smoothing: float = 0.0
    auxiliary: float = 0.0
    scale: TargetScale | None = None
    class_counts: tuple[int, ...] | None = None


@dataclass
class Task(ABC):
    """What networks learn: a component whose fields are the options of the task.

    Attributes:
        data_kinds: Kinds of data sets that the task accepts, see ``darts.data.source.SourceSpec``.
        metrics: All metrics that the task can report, by name.
        targets: What each sample has, see ``darts.data.targets``.
    """

    name: str = ""
    data_kinds: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[Mapping[str, Metric]] = {}
    targets: ClassVar[str] = CLASSES

    @abstractmethod
    def make_objective(self, spec: ObjectiveSpec) -> Objective:
        """Return the objective with these settings, or raise ValueError if one does not fit."""

    def check_training(self) -> None:  # noqa: B027  # most tasks need nothing
        """Raise ValueError if this process lacks what a training needs besides the settings."""

    def reject_auxiliary(self, auxiliary: float) -> None:
        """Raise ValueError if an auxiliary loss is on; for tasks without such a head."""
        if auxiliary:
            raise ValueError(
                f"auxiliary={auxiliary}: networks of task={self.name} have no auxiliary head; "
                "set auxiliary=0"
            )
