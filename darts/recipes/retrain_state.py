"""The checkpoint of a retraining: its fields, and what a restored state must satisfy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor

from darts.data import InputSpec
from darts.data.encodings import RowEncoding, WordEncoding
from darts.data.targets import TargetScale
from darts.spaces import NetworkBase
from darts.training.averaging import Averaging
from darts.training.restoring import require_finite_weights, require_same_layout
from darts.training.state import TrainState
from darts.typed_values import Count, Misfit


class BestEpoch(TypedDict):
    """The epoch that ``selection`` prefers, the best or the last one, and its weights."""

    epoch: Count  # from 1
    scores: dict[str, float]  # validation metrics
    net: dict[str, Tensor]  # state dict of the network


@dataclass(kw_only=True)
class RetrainState(TrainState):
    """Checkpoint of a retraining."""

    net: NetworkBase
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averaging: Averaging
    best: BestEpoch | None = None  # None until an epoch is selected
    target_names: list[str] = field(default_factory=list)  # classes, labels, numbers or words
    target_scale: TargetScale | None = None  # of numbers to predict
    # See DataModule.network_sizes. The bool says whether two vocabularies are the same.
    network_sizes: dict[str, int | bool] = field(default_factory=dict)
    input_specs: list[InputSpec] = field(default_factory=list)
    encoding: RowEncoding | WordEncoding | None = None  # of rows of a table, or of texts

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore every field. Fields that describe the data must equal those of the current data.

        Raises:
            Misfit: If an entry is missing, has another type or does not fit.
        """
        names = ("target_names", "target_scale", "network_sizes", "input_specs", "encoding")
        before = {name: getattr(self, name) for name in names}
        super().load_state_dict(state)
        for name, value in before.items():
            if getattr(self, name) != value:
                raise Misfit(f"{name} differs from the value for the data set")

    def check(self) -> None:
        """Refuse restored values that contradict each other or do not fit the network.

        Raises:
            Misfit: For the first such value.
        """
        super().check()
        if self.best is not None:
            if not 1 <= self.best["epoch"] <= self.epoch:
                raise Misfit(f"best.epoch is {self.best['epoch']} of {self.epoch} epochs")
            require_same_layout(self.best["net"], self.net.state_dict(), "best.net")
            require_finite_weights(self.best["net"], "best.net")
