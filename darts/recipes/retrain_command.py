"""The command that retrains the genotype of a search."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from darts.config import SearchConfig, group_options


def retrain_command(directory: Path, overrides: Sequence[str], config: SearchConfig) -> str:
    """Return the command that trains the genotype of a search on the same data.

    Args:
        directory: Run directory of the search.
        overrides: Overrides of its command line.
        config: Its configuration.
    """
    space_keys = tuple(f"space.{name}=" for name in config.space.retrain_keys)
    repeated = ("dataset", "device=", "seed=", *space_keys)
    arguments = [override for override in overrides if override.startswith(repeated)]
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    experiment = given.get("experiment/search")
    if experiment in group_options("experiment/retrain"):
        arguments.insert(0, f"experiment={experiment}")
    elif "dataset" not in given:
        arguments.insert(0, f"dataset={config.dataset.name}")
    if config.space.name != "cnn":
        arguments.insert(0, f"space={config.space.name}")
    if config.task.name != "classification":
        arguments.insert(0, f"task={config.task.name}")
    words = [f"genotype={directory}", *arguments]
    return " ".join(["python -m darts.retrain", *(shlex.quote(word) for word in words)])
