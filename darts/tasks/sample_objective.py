"""What tasks of samples share: a network returns one row of outputs for each sample.

Their loss can be a function of the user's own, which is passed to a Python function. Like a model
of the user's own, it is code, so a run directory only records that there was one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias, cast

from torch import Tensor

from darts.data import SampleBatch
from darts.spaces import NetworkBase
from darts.tasks.task import BaseObjective, Forward, ObjectiveSpec, Task

# Returns the mean loss, a scalar, for the outputs `(B, K)` of a network and the targets of a
# batch, see `darts.data.targets`; in classification, for logits and classes `(B,)` int64.
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# Value of `task.loss` for a function that was passed.
OWN = "own"

_passed: ContextVar[Loss | None] = ContextVar("passed_loss", default=None)


@contextmanager
def passed_loss(loss: Loss | None) -> Iterator[None]:
    """Let ``task.loss=own`` use this function in a block; None changes nothing."""
    token = _passed.set(_passed.get() if loss is None else loss)
    try:
        yield
    finally:
        _passed.reset(token)


def require_loss() -> Loss:
    """Return the function that was passed; raise ValueError outside of ``passed_loss``."""
    loss = _passed.get()
    if loss is None:
        raise ValueError(
            "task.loss=own: pass the function to darts.search(loss=...) or darts.retrain(loss=...)"
        )
    return loss


def compute_own_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the value of the function that was passed, a scalar."""
    value: object = require_loss()(logits, labels)
    if not isinstance(value, Tensor) or value.ndim > 0:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"the loss returns {found}; it must return a scalar tensor, the mean loss")
    return value


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
        """Return the mean loss for outputs ``(B, K)``, a scalar.

        Outputs of an ensemble are ``(B, members, K)``; each member has a loss.
        """
        if outputs.ndim == 3:
            targets = targets.repeat_interleave(outputs.shape[1], dim=0)
            outputs = outputs.flatten(0, 1)
        if self._uses_own_loss:
            return compute_own_loss(outputs, targets)
        return self.task_loss(outputs, targets)

    @abstractmethod
    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the task, a scalar."""

    def supernet_loss(self, forward: Forward, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        samples, targets = batch
        outputs = forward(samples)
        loss = self.loss(outputs, targets)
        return loss, outputs.mean(1) if outputs.ndim == 3 else outputs

    def network_loss(self, net: NetworkBase, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        if net.auxiliary is None:
            return self.supernet_loss(net, batch)
        samples, targets = batch
        outputs, auxiliary = net(samples, auxiliary=True)
        return self.loss(outputs, targets) + self.auxiliary * self.loss(auxiliary, targets), outputs

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
