"""Searches in several stages: deeper networks, wider channels, fewer candidates.

References:
    Chen et al., "Progressive DARTS", arXiv:1904.12760, section 3.2; Chen et al., "DrNAS",
    arXiv:2006.10355, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from darts.registry import number


@dataclass
class Stage:
    """One stage; the defaults are those of a search that has no other.

    Attributes:
        share: of the epochs, relative to the other stages.
        depth: factor of ``space.cells``.
        widen: divides ``relaxation.partial``.
        keep: share of the space's candidates that each edge keeps, those of the best alphas.
        fresh: begin with new weights and alphas; else both go on, widened where channels are.
        skip_dropout: share of skip connections' outputs that are dropped at the stage's first
            epoch; it falls by ``exp(-dropout_decay)`` an epoch.
        dropout_decay: see there.
    """

    share: float = number(1.0, above=0)
    depth: float = number(1.0, above=0)
    widen: int = number(1, low=1)
    keep: float = number(1.0, above=0, high=1)
    fresh: bool = False
    skip_dropout: float = number(0.0, low=0, below=1)
    dropout_decay: float = number(0.2, low=0)


class Place(NamedTuple):
    """Where an epoch lies: its stage's number, first epoch and length in epochs."""

    stage: int
    first: int
    length: int

    def share(self, epoch: int) -> float:
        """Share of the stage that is over when the epoch begins."""
        return (epoch - self.first) / self.length


def place_of(epoch: int, epochs: int, stages: Sequence[Stage]) -> Place:
    """The place of an epoch, counted from 0; the last epoch's beyond the end.

    Raises:
        ValueError: when there are fewer epochs than stages.
    """
    if epochs < len(stages):
        raise ValueError(f"epochs={epochs} are fewer than the method's {len(stages)} stages")
    total = sum(stage.share for stage in stages)
    ends: list[int] = []
    done = 0.0
    for index, stage in enumerate(stages):
        done += stage.share
        end = math.floor(epochs * done / total + 0.5)
        least = (ends[-1] if ends else 0) + 1
        ends.append(min(max(end, least), epochs - (len(stages) - 1 - index)))
    number = next((i for i, end in enumerate(ends) if epoch < end), len(ends) - 1)
    first = ends[number - 1] if number else 0
    return Place(number, first, ends[number] - first)


def skip_dropout(stage: Stage, place: Place, epoch: int) -> float:
    """The share of skip connections' outputs that are dropped in an epoch."""
    return stage.skip_dropout * math.exp(-stage.dropout_decay * (epoch - place.first))


def best_candidates(
    probabilities: Mapping[str, Tensor], kept: Mapping[str, Tensor], keep: float
) -> dict[str, Tensor]:
    """Masks ``(edges, operations)`` of the most probable candidates of each edge.

    Args:
        probabilities: by group ``(edges, operations)``.
        kept: masks of those still there; groups that are missing keep all.
        keep: share of all candidates, of which one is kept at least.
    """
    masks = {}
    for group, p in probabilities.items():
        there = kept.get(group, torch.ones_like(p, dtype=torch.bool)).to(p.device)
        count = max(1, math.floor(keep * p.shape[1] + 0.5))
        ranked = p.detach().masked_fill(~there, -1.0)
        chosen = torch.zeros_like(there).scatter_(1, ranked.topk(count, dim=1).indices, True)
        masks[group] = (chosen & there).cpu()
    return masks
