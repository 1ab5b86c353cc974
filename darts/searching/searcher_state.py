"""The entries of a checkpoint that belong to the searcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from darts.methods.freezing import FreezingState
from darts.spaces import SupernetBase
from darts.spaces.deriving import Candidates
from darts.training.checkpoint import StateDict
from darts.typed_values import Count, Misfit, shown


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


def require_fitting_masks(masks: Mapping[str, Tensor], candidates: Candidates) -> None:
    """Refuse masks of other groups, and masks that leave an edge without candidates.

    Raises:
        Misfit: For the first such mask.
    """
    for group, mask in masks.items():
        rows = candidates.get(group, ())
        shape = (len(rows), len(rows[0])) if rows else None
        if mask.dtype != torch.bool or mask.shape != shape or not mask.any(dim=1).all():
            raise Misfit(f"searcher.masks.{group[:60]} does not fit the candidates")


def require_known_operations(freezing: FreezingState, net: SupernetBase) -> None:
    """Refuse the state of a freezing rule that names operations that the supernet lacks.

    Raises:
        Misfit: With the first such name.
    """
    names = {*freezing.get("frozen", []), *freezing.get("sums", {})}
    # Only some spaces implement ``operation_rows``, so it is called only if it is needed.
    if names and (unknown := names - net.operation_rows().keys()):
        raise Misfit(f"searcher.freezing names the unknown operation {shown(min(unknown))}")
