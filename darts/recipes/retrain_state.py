"""The checkpoint of a retraining."""

from __future__ import annotations

import json
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
from darts.training.state import TrainState
from darts.typed_values import Count, Misfit


class BestEpoch(TypedDict):
    """The epoch that ``selection`` prefers, the best or the last one, and its weights."""

    epoch: Count  # from 1
    scores: dict[str, float]  # validation metrics
    net: dict[str, Tensor]  # state dict of the network


DATA_FIELDS = ("target_names", "target_scale", "network_sizes", "input_specs", "encoding")
"""Fields of a checkpoint that describe the data."""


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
        current = self.state_dict()
        for name in DATA_FIELDS:
            # As JSON, because the state of a file has lists in place of tuples.
            if json.dumps(state.get(name)) != json.dumps(current[name]):
                raise Misfit(f"{name} differs from the value for the data set")
        self.load_fields(state, *(name for name in current if name not in DATA_FIELDS))
