"""The output of a dry run: the estimate, and suggestions if the estimate exceeds the budget.

References:
    Learning rates that grow with the batch size: Goyal et al., "Accurate, Large Minibatch SGD",
    arXiv:1706.02677, section 2.1. Rates for Adam that grow with its square root: Malladi et al.,
    "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", arXiv:2205.10287.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from darts.config import ConfigError, RetrainConfig, RunConfig, SearchConfig
from darts.reading import JsonObject
from darts.tracking import format_duration, print_summary
from darts.training.dry_run import CostEstimate

MIN_BATCH = 8  # smaller batches have unreliable batch norm statistics; advice uses its multiples


def check_budget(config: RunConfig) -> None:
    """Refuse a budget without a dry run.

    Raises:
        ConfigError: When ``budget.*`` is set and ``dry_run`` is not.
    """
    for key in ("hours", "memory_mb"):
        value = getattr(config.budget, key)
        if value is not None and not config.dry_run:
            raise ConfigError(
                f"budget.{key}={value:g}: only a dry run compares its estimate with a budget; "
                "add dry_run=true or leave it out"
            )


def print_estimate(
    config: SearchConfig | RetrainConfig,
    size: Mapping[str, int],
    estimate: CostEstimate,
    device: torch.device,
    *,
    not_counted: Sequence[str] = (),
) -> JsonObject:
    """Print the estimate and the advice of a dry run.

    Args:
        config: Configuration of the run.
        size: Parameters and MACs of the network, by name.
        estimate: Predicted cost of the run.
        device: Device of the run.
        not_counted: Work that the estimate omits.

    Returns:
        All printed values, and the advice as ``advice``, a list of lines.
    """
    values = {
        **size,
        "steps": estimate.steps,
        "epochs": estimate.epochs,
        "seconds_per_step": estimate.seconds_per_step,
        "base_memory_mb": estimate.base_memory_mb,
        "peak_memory_mb": estimate.peak_memory_mb,
        "estimated_time": format_duration(estimate.seconds),
        "estimated_joules": estimate.joules,
        "joules_source": estimate.joules_source,
        "estimated_gco2e": estimate.gco2e,
    }
    print_summary("dry run", values)
    lines = Advisor.from_config(config, device.type).advice(
        estimate, hours=config.budget.hours, memory_mb=config.budget.memory_mb
    )
    if lines:
        print("\n" + "\n".join(lines))
    elif config.budget.hours is not None or config.budget.memory_mb is not None:
        counted = "The counted part" if not_counted else "The run"
        print(f"\n{counted} fits the budget.")
    if not_counted:
        print(f"\nnot counted: {', '.join(not_counted)}")
    return {
        **values,
        "estimated_seconds": estimate.seconds,
        "not_counted": list(not_counted),
        "advice": lines,
    }


@dataclass(frozen=True)
class Advisor:
    """Suggests changes to a run that exceeds its budget; the fields describe the run."""

    batch_size: int
    lr: float
    adam: bool  # whether the weights are trained by Adam instead of SGD
    epochs: int
    savings: Mapping[str, str]  # overrides that make the run cheaper, and what each of them does

    @classmethod
    def from_config(cls, config: SearchConfig | RetrainConfig, device: str) -> Advisor:
        """Return the advisor of a run on a type of device, for example ``cuda``."""
        return cls(
            batch_size=config.loader.batch_size,
            lr=config.optimizer.lr,
            adam=config.optimizer.algorithm == "adam",
            epochs=config.epochs,
            savings=find_savings(config, device),
        )

    def advice(
        self, estimate: CostEstimate, *, hours: float | None, memory_mb: float | None
    ) -> list[str]:
        """Return one line per exceeded limit and per possible saving; [] if the run fits.

        Args:
            estimate: Predicted cost of the run.
            hours: Time limit in hours; None for no limit.
            memory_mb: Memory limit in MB of 2**20 bytes; None for no limit.
        """
        lines = []
        if memory_mb is not None and estimate.peak_memory_mb > memory_mb:
            lines.append(
                f"memory: the estimate of {estimate.peak_memory_mb:,.0f} MB exceeds "
                f"budget.memory_mb={memory_mb:g}; {self._smaller_batch(estimate, memory_mb)}"
            )
        if hours is not None and estimate.seconds > 3600 * hours:
            lines.append(
                f"time: the estimate of {estimate.seconds / 3600:.2g} hours exceeds "
                f"budget.hours={hours:g}; {self._fewer_epochs(estimate, 3600 * hours)}"
            )
        if lines:
            lines += [f"or {override}: {effect}" for override, effect in self.savings.items()]
        return lines

    def _fewer_epochs(self, estimate: CostEstimate, seconds: float) -> str:
        """Return advice on the number of epochs."""
        fit = math.floor(self.epochs * seconds / estimate.seconds)
        return f"set epochs={fit}" if fit else "not even one epoch fits: reduce dataset.subset"

    def _smaller_batch(self, estimate: CostEstimate, memory_mb: float) -> str:
        """Return advice on the batch size; the memory above the base is proportional to it."""
        base = estimate.base_memory_mb
        added = estimate.peak_memory_mb - base
        share = (memory_mb - base) / added if added > 0 else 0.0
        batch = math.floor(self.batch_size * share)
        batch -= batch % MIN_BATCH
        if batch < MIN_BATCH:
            return f"no smaller batch fits, because {base:,.0f} MB are used before the first step"
        factor = batch / self.batch_size
        lr = self.lr * (math.sqrt(factor) if self.adam else factor)
        return (
            f"set loader.batch_size={batch} optimizer.lr={lr:.2g} "
            f"(about {base + added * factor:,.0f} MB)"
        )


def find_savings(config: SearchConfig | RetrainConfig, device: str) -> dict[str, str]:
    """Return overrides that make a run cheaper, and what each of them does.

    Args:
        config: Configuration of a search or a retraining.
        device: Type of the device, for example ``cuda``.
    """
    savings: dict[str, str] = {}
    search = config if isinstance(config, SearchConfig) else None
    if search is not None:
        if search.memory == "full":
            savings["memory=checkpoint"] = "cells are computed twice instead of stored"
        if search.relaxation.partial == 1 and search.space.supports_partial:
            savings["relaxation.partial=4"] = (
                "a quarter of the channels is mixed: less time and less memory"
            )
    if config.precision == "fp32" and device != "cpu":
        savings["precision=bf16"] = "half the memory of stored tensors, and faster"
    if search is not None and search.bilevel.name == "unrolled":
        savings["bilevel=first_order"] = "about two fifths of the time"
    return savings
