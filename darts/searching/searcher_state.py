"""The entries of a checkpoint that belong to the searcher."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor

from darts.methods.freezing import FreezingState
from darts.training.checkpoint import StateDict
from darts.typed_values import Count


class SavedSearcher(TypedDict):
    """State of a searcher in a checkpoint, see ``Searcher.state_dict``."""

    stage: Count
    masks: dict[str, Tensor]  # (edges, operations) bool by group
    freezing: FreezingState
    net: dict[str, Tensor]
    optimizer: StateDict
    arch_optimizer: StateDict
    scaler: StateDict
    arch_scaler: StateDict
