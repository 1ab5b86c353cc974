"""Stages of a search: each may use a deeper network, wider channels and fewer candidates.

References:
    Chen et al., "Progressive DARTS", arXiv:1904.12760, section 3.2; Chen et al., "DrNAS",
    arXiv:2006.10355, section 3.2.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from darts.registry import number


@dataclass
class Stage:
    """One stage; the defaults describe a search with a single stage.

    Attributes:
        share: Number of epochs relative to the other stages.
        depth: Factor on ``space.cells``.
        widen: Divisor of ``relaxation.partial``; 1.5 turns a sixth of the channels into a quarter.
        keep: Share of the space's candidates that each edge keeps; the most probable ones.
        fresh: Start with new weights and alphas. Otherwise both are carried over, and channels are
            added where the stage is wider.
        skip_dropout: Dropout rate of skip connections in the first epoch that updates the alphas.
            Each further epoch multiplies it by ``exp(-dropout_decay)``. While the alphas are
            frozen, the rate is ``skip_dropout`` times the share of the stage that is left after the
            epoch.
    """

    share: float = number(1.0, above=0)
    depth: float = number(1.0, above=0)
    widen: float = number(1.0, low=1)
    keep: float = number(1.0, above=0, high=1)
    fresh: bool = False
    skip_dropout: float = number(0.0, low=0, below=1)
    dropout_decay: float = number(0.2, low=0)


def partial_of(partial: int, stage: Stage) -> int:
    """Return the divisor of the channels in a stage; ValueError if it is not an integer."""
    quotient = max(1.0, partial / stage.widen)
    if abs(quotient - round(quotient)) > 1e-6:
        raise ValueError(
            f"stages: widen={stage.widen:g} does not divide relaxation.partial={partial}"
        )
    return round(quotient)


class StagePosition(NamedTuple):
    """The stage of an epoch: its index, its first epoch and its number of epochs."""

    stage: int
    first: int
    length: int

    def progress(self, epoch: int) -> float:
        """Return the finished share of the stage at the start of an epoch."""
        return (epoch - self.first) / self.length


def stage_position(epoch: int, epochs: int, stages: Sequence[Stage]) -> StagePosition:
    """Return the stage of an epoch, counted from 0; for later epochs, the last stage."""
    ends = _stage_ends(epochs, stages)
    stage = min(bisect.bisect_right(ends, epoch), len(ends) - 1)
    first = ends[stage - 1] if stage else 0
    return StagePosition(stage, first, ends[stage] - first)


def schedule_of(epoch: int, epochs: int, stages: Sequence[Stage]) -> tuple[int, int]:
    """Return the first epoch and the length of the learning rate schedule of an epoch.

    The schedule restarts with each stage that starts with new weights.
    """
    ends = _stage_ends(epochs, stages)
    fresh = [end for end, stage in zip(ends, stages[1:], strict=False) if stage.fresh]
    starts = [0, *fresh]
    first = max(start for start in starts if start <= epoch)
    after = min([start for start in starts if start > epoch], default=epochs)
    return first, after - first


def _stage_ends(epochs: int, stages: Sequence[Stage]) -> list[int]:
    """Return the first epoch after each stage; ValueError for fewer epochs than stages."""
    if epochs < len(stages):
        raise ValueError(f"epochs={epochs}: must be >= {len(stages)}, the number of stages")
    total = sum(stage.share for stage in stages)
    ends = [0]
    share = 0.0
    for index, stage in enumerate(stages):
        share += stage.share
        end = math.floor(epochs * share / total + 0.5)
        ends.append(min(max(end, ends[-1] + 1), epochs - (len(stages) - 1 - index)))
    return ends[1:]


def skip_dropout_at(stage: Stage, position: StagePosition, epoch: int, warmup: float) -> float:
    """Return the dropout rate of skip connections in an epoch.

    The authors' code of P-DARTS has this schedule; the paper says only that the rate decays. The
    alphas are frozen in the first share ``warmup`` of the stage.
    """
    finished = epoch - position.first
    frozen = sum(number / position.length < warmup for number in range(position.length))
    if finished < frozen:
        return stage.skip_dropout * (position.length - finished - 1) / position.length
    return stage.skip_dropout * math.exp(-stage.dropout_decay * (finished - frozen))


def best_candidates(
    probabilities: Mapping[str, Tensor], masks: Mapping[str, Tensor], keep: float
) -> dict[str, Tensor]:
    """Return masks of the most probable candidates, ``(edges, operations)`` by group.

    ``masks`` are the candidates that are still in the search; a missing group has all. ``keep`` is
    the share of all candidates to keep; at least one is kept.
    """
    selected = {}
    for group, p in probabilities.items():
        mask = masks.get(group, torch.ones_like(p, dtype=torch.bool)).to(p.device)
        count = max(1, math.floor(keep * p.shape[1] + 0.5))
        ranked = p.detach().masked_fill(~mask, -1.0)
        best = torch.zeros_like(mask).scatter_(1, ranked.topk(count, dim=1).indices, True)
        selected[group] = (best & mask).cpu()
    return selected
