"""The steps of a retraining as CUDA graphs, and what prevents that."""

from __future__ import annotations

from collections.abc import Callable

from darts.config import RetrainConfig
from darts.training.distributed import Ranks
from darts.training.graphs import GraphedStep, Result, capture_obstacle, graphed_step


def retraining_obstacle(config: RetrainConfig, ranks: Ranks) -> str | None:
    """Return why a step of a retraining cannot be captured as a CUDA graph; None if it can."""
    if config.warmup > 0:
        return f"warmup={config.warmup:g}: the learning rate changes with each step"
    if config.optimizer.schedule == "stable":
        return "optimizer.schedule=stable: the learning rate changes with each step"
    if config.ema_decay or config.averaging_patience or config.average_power:
        return "the CPU reads how many steps are averaged"
    return capture_obstacle(config, ranks, ("space", "task"))


def graphed_retraining_step(
    step: Callable[..., Result], config: RetrainConfig, ranks: Ranks
) -> GraphedStep[Result]:
    """Return a step that runs as a CUDA graph if ``graphs=auto`` and nothing prevents it.

    On the CPU, ``graphs=auto`` changes nothing.
    """
    return graphed_step(step, config, ranks, obstacle=retraining_obstacle(config, ranks))
