"""When a retraining has diverged, and what changes when it repeats an epoch."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from darts.recipes.retrain_state import RetrainState
from darts.training.steps import Diverged

RESTART_FACTOR = 0.3
"""Factor of the learning rate after each restart of a training that has diverged."""

SETTLING_STEPS = 50
"""Steps after which the running statistics of batch norm describe the data."""

DIVERGENCE_FACTOR = 10.0
"""A training has diverged if the mean loss of an epoch is this many times its first loss."""

ADVICE = "Try a smaller optimizer.lr"


@dataclass(frozen=True)
class RetrainRestarts:
    """The restarts of a retraining, each at a lower learning rate.

    All decisions depend on values that are equal on all ranks.

    Attributes:
        state: State of the retraining; it counts the restarts.
        allowed: Largest number of restarts.
    """

    state: RetrainState
    allowed: int

    @property
    def left(self) -> bool:
        return self.state.restarts < self.allowed

    @property
    def lr_factor(self) -> float:
        """The factor of the learning rate after all restarts so far."""
        return float(RESTART_FACTOR**self.state.restarts)

    def restart(self) -> str:
        self.state.restarts += 1
        return (
            f"repeating the epoch at {RESTART_FACTOR:g} times the learning rate "
            f"(restart {self.state.restarts} of {self.allowed})"
        )

    def require_convergence(self) -> None:
        """Refuse weights that are not finite, and a mean loss far above that of the first step.

        Raises:
            Diverged: When the training may restart and one of the two holds.
        """
        state = self.state
        if not self.left or state.first_loss is None:
            return
        place = f"in epoch {state.epoch + 1}"
        loss = state.means.compute().get("train_loss", 0.0)
        if not loss <= DIVERGENCE_FACTOR * state.first_loss:
            raise Diverged(
                f"train_loss rose from {state.first_loss:.4g} in the first step to {loss:.4g} "
                f"{place}",
                ADVICE,
            )
        if not all(bool(parameter.isfinite().all()) for parameter in state.net.parameters()):
            raise Diverged(f"the weights became infinite or NaN {place}", ADVICE)

    def require_valid_loss(self, loss: float) -> None:
        """Refuse a validation loss that is not finite, or far above the loss of the first step.

        A high loss is accepted in the first ``SETTLING_STEPS`` steps, since the statistics of batch
        norm settle slowly.

        Raises:
            Diverged: When the training may restart and the loss is refused.
        """
        state = self.state
        steps, limit = state.epoch * len(state.train_loader) + state.step, sys.float_info.max
        if steps >= SETTLING_STEPS and state.first_loss is not None:
            limit = DIVERGENCE_FACTOR * state.first_loss
        if self.left and not loss <= limit:
            raise Diverged(f"valid_loss became {loss:.4g} in epoch {state.epoch + 1}", ADVICE)
