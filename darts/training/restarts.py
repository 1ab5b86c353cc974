"""Restarts after a divergence: a run repeats the epoch at a lower learning rate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.training.state import TrainState
from darts.training.steps import Diverged

# Factor of the learning rate after each restart.
RESTART_FACTOR = 0.3

# Steps after which the running statistics of batch norm describe the data.
SETTLING_STEPS = 50

# Largest mean loss of an epoch relative to the first step; above it, a run has diverged.
DIVERGENCE_FACTOR = 10.0

ADVICE = "Try a smaller optimizer.lr"


@dataclass(frozen=True)
class LowerRateRestarts:
    """The restarts of a search or a retraining, each at a lower learning rate of the weights.

    All decisions depend on values that are equal on all ranks.
    """

    state: TrainState  # it counts the restarts
    allowed: int
    weights: Callable[[], Iterable[Tensor]]  # all trained tensors, on one device
    # Largest validation loss, relative to the loss of the first step.
    valid_factor: float = DIVERGENCE_FACTOR

    @property
    def left(self) -> bool:
        """Whether the training may restart once more."""
        return self.state.restarts < self.allowed

    @property
    def lr_factor(self) -> float:
        """The factor of the learning rate after all restarts so far."""
        return float(RESTART_FACTOR**self.state.restarts)

    def restart(self) -> str:
        """Lower the rate of the restored state; return what changes, as the end of a message."""
        self.state.restarts += 1
        return (
            f"repeating the epoch at {RESTART_FACTOR:g} times the learning rate "
            f"(restart {self.state.restarts} of {self.allowed})"
        )

    def require_convergence(self) -> None:
        """Raise Diverged for weights that are not finite, or a mean loss far above the first."""
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
        if not bool(torch.stack([tensor.isfinite().all() for tensor in self.weights()]).all()):
            raise Diverged(f"the weights became infinite or NaN {place}", ADVICE)

    def require_valid_loss(self, loss: float) -> None:
        """Raise Diverged for a validation loss that is not finite, or too far above the first loss.

        A high loss is accepted in the first ``SETTLING_STEPS`` steps, since the statistics of batch
        norm settle slowly.
        """
        state = self.state
        if not self.left or state.first_loss is None:
            return
        limit = sys.float_info.max
        if state.global_step >= SETTLING_STEPS:
            limit = min(limit, self.valid_factor * state.first_loss)
        if not loss <= limit:
            raise Diverged(f"valid_loss became {loss:.4g} in epoch {state.epoch + 1}", ADVICE)
