"""What to change in a run that would not keep to its budget.

References:
    Learning rates that grow with the batch: Goyal et al., "Accurate, Large Minibatch SGD",
    arXiv:1706.02677, section 2.1; with the root of it for Adam: Malladi et al., "On the SDEs and
    Scaling Rules for Adaptive Gradient Algorithms", arXiv:2205.10287.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SMALLEST = 8  # a batch whose statistics are worth something
NOTABLE = 0.05  # of the memory that a run adds


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it begins.

    Attributes:
        batch_size: samples a step.
        lr: learning rate of the weights.
        adam: whether they learn by Adam, else by SGD.
        epochs: of the whole run.
        levers: overrides that make a run smaller in some way, and what each does in words.
    """

    batch_size: int
    lr: float
    adam: bool
    epochs: int
    levers: Mapping[str, str]

    def advice(
        self, told: Mapping[str, Any], *, hours: float | None, memory_mb: float | None
    ) -> list[str]:
        """Sentences; none when the run keeps to what is given.

        Args:
            told: what ``dry_run`` has found.
            hours: that the run may take.
            memory_mb: that it may use.
        """
        lines = []
        if memory_mb is not None and told["peak_memory_mb"] > memory_mb:
            lines.append(
                f"memory: {told['peak_memory_mb']:,.0f} MB are more than "
                f"budget.memory_mb={memory_mb:g}; " + self._smaller_batch(told, memory_mb)
            )
        if hours is not None and told["estimated_seconds"] > 3600 * hours:
            fewer = self._fewer_epochs(told, 3600 * hours)
            lines.append(
                f"time: {told['estimated_seconds'] / 3600:.2g} hours are more than "
                f"budget.hours={hours:g}; {fewer}"
            )
        if lines:
            lines += [f"or {override}: {effect}" for override, effect in self.levers.items()]
        return lines

    def _fewer_epochs(self, told: Mapping[str, Any], seconds: float) -> str:
        """How many fit; what is done behind the last of them takes as long after any number."""
        last = told["finish_seconds"]
        fit = math.floor(self.epochs * (seconds - last) / (told["estimated_seconds"] - last))
        if fit >= 1:
            return f"set epochs={fit}"
        if not last:
            return "not one epoch fits: take less data"
        return (
            "not one epoch fits beside the decision on a genotype, which takes "
            f"{last / 3600:.2g} of them: make it smaller by discretize.*, or take less data"
        )

    def _smaller_batch(self, told: Mapping[str, Any], memory_mb: float) -> str:
        """Of the memory, what the first step has added is taken to grow with the batch."""
        base, added = told["base_memory_mb"], told["peak_memory_mb"] - told["base_memory_mb"]
        share = (memory_mb - base) / added if added > 0 else 0.0
        batch = math.floor(self.batch_size * share)
        batch -= batch % SMALLEST
        if batch < SMALLEST:
            return f"no smaller batch fits, since {base:,.0f} MB are needed before the first step"
        factor = batch / self.batch_size
        lr = self.lr * (math.sqrt(factor) if self.adam else factor)
        return (
            f"set loader.batch_size={batch} optimizer.lr={lr:.2g} "
            f"(about {base + added * factor:,.0f} MB)"
        )


def levers_of(config: Any, device: str, told: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration leaves to be made smaller; see ``Plan``.

    Args:
        config: of a search or a retraining.
        device: kind of it.
        told: what ``dry_run`` has found, and of a search by how much looks raise the peak.
    """
    found: dict[str, str] = {}
    raised = told.get("looks_memory_mb", 0.0)
    added = told["peak_memory_mb"] - told["base_memory_mb"]  # where memory was freed, below 0
    looks = raised > NOTABLE * max(added, 0.0)
    if looks and not config.stopping.needs_curvature:
        found["doctor.every=0"] = f"no looks, which need {raised:,.0f} MB more than a step"
    # A look differentiates twice, and cells that are computed again are then kept in addition.
    if getattr(config, "memory", None) == "full" and not looks:
        found["memory=checkpoint"] = "cells are computed twice and not kept"
    partial = getattr(getattr(config, "relaxation", None), "partial", None)
    if partial == 1 and config.space.has_partial:
        found["relaxation.partial=4"] = "a quarter of the channels is mixed: less of both"
    if config.precision == "fp32" and device != "cpu":
        found["precision=bf16"] = "half the memory of what is kept, and faster"
    if getattr(config, "bilevel", None) is not None and config.bilevel.name == "unrolled":
        found["bilevel=first_order"] = "about two fifths of the time"
    return found
