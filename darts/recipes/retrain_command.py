"""The commands that follow a search and a retraining, which they print at their end."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from darts.config import RetrainConfig, SearchConfig, compose
from darts.config.fields import flatten
from darts.data import sources
from darts.plugins import group_options
from darts.recipes.rules import DataFacts, Values, max_epochs, recipe
from darts.spaces.module.targets import is_passed

# File of a search with the overrides of its retraining.
RETRAINING = "retrain.json"


def retrain_command(directory: Path, overrides: Sequence[str]) -> str:
    """Return the command that trains the genotype of the search in a directory.

    ``overrides`` are the result of ``retrain_overrides``. A command line cannot name a model that
    was passed in Python; then the result is a call in Python.
    """
    if is_passed():
        return "darts.retrain(run)"
    return shlex.join(["darts", "retrain", f"genotype={directory}", *overrides])


def retrain_overrides(
    overrides: Sequence[str], config: SearchConfig, facts: DataFacts | None = None
) -> list[str]:
    """Return the overrides of a retraining on the data of a search, except the genotype.

    On the user's own data, the hyperparameters follow from the data, and the network has the size
    of the supernet. On a published data set, hyperparameters and size are the defaults. Overrides
    and configuration belong to the search.
    """
    arguments = _repeated(overrides, config)
    if config.limit.values() or config.front.enabled:
        # The sizes of the networks that the limits refer to.
        sizes = {key: getattr(config.space, key) for key in config.space.size_keys}
        arguments += [f"space.{key}={v}" for key, v in {**sizes, **config.limit.sizes}.items()]
    has_experiment = any(override.startswith("experiment/search=") for override in overrides)
    if facts is not None and not has_experiment and sources()[config.dataset.name].own:
        arguments += adapted_values(arguments, config, facts)
    return arguments


def _repeated(overrides: Sequence[str], config: SearchConfig) -> list[str]:
    """Return the overrides that select space, task, data, device and seed of a search again.

    A retraining with the same experiment gets the experiment. A loss that was passed in Python has
    no name on a command line.
    """
    keys = (f"space.{key}=" for key in config.space.retrain_keys)
    repeated = ("dataset", "task.", "device=", "seed=", *keys)
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
        arguments.insert(0, f"dataset={config.dataset.name}")
    if config.space.name != "cnn":
        arguments.insert(0, f"space={config.space.name}")
    if config.task.name != "classification":
        arguments.insert(0, f"task={config.task.name}")
    return arguments


def evaluate_command(directory: Path, config: RetrainConfig) -> str:
    """Return the command that scores the network of a retraining; empty for a passed model."""
    if is_passed():
        return ""
    target = getattr(config.space, "target", "")  # commands import no class unless it is named
    words = [f"checkpoint={directory}", *([f"space.target={target}"] if target else [])]
    return f"darts evaluate {shlex.join(words)}"


def adapted_values(arguments: Sequence[str], config: SearchConfig, facts: DataFacts) -> list[str]:
    """Return overrides for the values that follow from the data and differ from the defaults.

    The keys of ``arguments``, the other overrides of the retraining, keep their values.
    """
    retraining: RetrainConfig = compose("retrain", [*arguments, "genotype=any"])
    defaults = dict(flatten(dataclasses.asdict(retraining)))
    values: Values = recipe(facts, fine_tunes=config.space.fine_tunes)
    values["epochs"] = max_epochs(facts)
    if facts.validation > 0:
        values["validation"] = facts.validation
    values |= {f"space.{key}": getattr(config.space, key) for key in config.space.size_keys}
    fixed = {argument.partition("=")[0] for argument in arguments}
    return [
        f"{key}={value}"
        for key, value in values.items()
        if key not in fixed and defaults.get(key, value) != value  # some spaces lack a key
    ]
