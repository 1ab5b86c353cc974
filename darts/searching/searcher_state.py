"""The entries of a checkpoint that belong to the searcher."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

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


class WeightStep(NamedTuple):
    """What a weight step reports.

    Attributes:
        loss: This rank's loss, a scalar.
        outputs: Outputs of the supernet.
        norm: Norm of the gradient of the weights before clipping, a scalar.
        arch_norm: Norm of the gradient of the alphas, 0 if the step does not update them.
    """

    loss: Tensor
    outputs: Any
    norm: Tensor
    arch_norm: Tensor
