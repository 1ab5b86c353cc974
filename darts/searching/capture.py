"""The steps of a search as CUDA graphs, and what prevents that."""

from __future__ import annotations

from collections.abc import Callable

from darts.config import SearchConfig
from darts.training import graphs
from darts.training.distributed import Ranks
from darts.training.graphs import GraphedStep, Result

COMPONENTS = ("space", "task", "relaxation", "bilevel", "perturbation", "regularizer", "freezing")
"""Keys of the components that take part in a step of a search."""


def capture_obstacle(config: SearchConfig, ranks: Ranks) -> str | None:
    """Return why a step of a search cannot be captured as a CUDA graph; None if it can."""
    if config.memory != "full":
        return f"memory={config.memory}: it saves and restores the state of random generators"
    if config.front.enabled:
        return f"front.cost={config.front.cost}: every step draws a budget on the CPU"
    return graphs.capture_obstacle(config, ranks, COMPONENTS)


def graphed_step(
    step: Callable[..., Result], config: SearchConfig, ranks: Ranks
) -> GraphedStep[Result]:
    """Return a step that runs as a CUDA graph if ``graphs=auto`` and nothing prevents it.

    On the CPU, ``graphs=auto`` changes nothing.
    """
    return graphs.graphed_step(
        step,
        config,
        ranks,
        obstacle=capture_obstacle(config, ranks),
        repeats_draws=config.bilevel.repeats_draws,
    )
