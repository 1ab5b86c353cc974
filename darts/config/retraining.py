"""Which settings of a search its retraining must have, too."""

from __future__ import annotations

from collections.abc import Sequence

from darts.config.conf_files import group_options


def repeated_overrides(
    overrides: Sequence[str], *, space: str, space_keys: Sequence[str], task: str, dataset: str
) -> list[str]:
    """Return the overrides that select space, task, data, device and seed of a search again.

    A retraining with the same experiment gets the experiment. A loss that was passed in Python has
    no name on a command line.

    Args:
        overrides: Overrides of the search.
        space, task, dataset: Names of its space, task and data set.
        space_keys: ``Space.retrain_keys`` of the space.
    """
    repeated = ("dataset", "task.", "device=", "seed=", *(f"space.{key}=" for key in space_keys))
    arguments = [
        override
        for override in overrides
        if override.startswith(repeated) and override != "task.loss=own"
    ]
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    experiment = given.get("experiment/search")
    if experiment in group_options("experiment/retrain"):
        arguments.insert(0, f"experiment={experiment}")
    elif "dataset" not in given:
        arguments.insert(0, f"dataset={dataset}")
    if space != "cnn":
        arguments.insert(0, f"space={space}")
    if task != "classification":
        arguments.insert(0, f"task={task}")
    return arguments
