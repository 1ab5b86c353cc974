"""What tasks of samples share: a network returns one row of outputs for each sample."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from darts.data import SampleBatch
from darts.spaces import NetworkBase
from darts.tasks.own_loss import OWN, compute_own_loss, require_loss
from darts.tasks.task import BaseObjective, Forward, ObjectiveSpec, Task


class SampleObjective(BaseObjective[SampleBatch, Tensor]):
    """The loss of the task or of the user, of outputs ``(B, K)`` and targets.

    See ``darts.data.targets`` for the targets.
    """

    def __init__(self, task: SampleTask, spec: ObjectiveSpec) -> None:
        super().__init__(task, spec)
        self.auxiliary, self._uses_own_loss = spec.auxiliary, task.loss == OWN
        if self._uses_own_loss and spec.label_smoothing:
            raise ValueError(
                f"label_smoothing={spec.label_smoothing}: belongs to the losses of the task, not "
                "to task.loss=own; set label_smoothing=0"
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss for outputs ``(B, K)``, a scalar."""
        if self._uses_own_loss:
            return compute_own_loss(outputs, targets)
        return self.task_loss(outputs, targets)

    @abstractmethod
    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the task, a scalar."""

    def supernet_loss(self, forward: Forward, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        samples, targets = batch
        outputs = forward(samples)
        return self.loss(outputs, targets), outputs

    def network_loss(self, net: NetworkBase, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        samples, targets = batch
        outputs, auxiliary = net(samples, auxiliary=True)
        loss = self.loss(outputs, targets)
        if auxiliary is not None:
            loss = loss + self.auxiliary * self.loss(auxiliary, targets)
        return loss, outputs

    def predict(self, forward: Forward, batch: SampleBatch) -> Tensor:
        return cast(Tensor, forward(batch[0]))

    def num_samples(self, batch: SampleBatch) -> int:
        return len(batch[1])


@dataclass
class SampleTask(Task):
    """Base class of tasks whose loss can be a function of the user's own.

    Attributes:
        loss: What the training minimizes: a loss of the task, or ``OWN``, a function that was
            passed to ``darts.search`` or ``darts.retrain``. The score ``loss`` stays the same.
    """

    loss: str = ""

    def check_training(self) -> None:
        if self.loss == OWN:
            require_loss()
