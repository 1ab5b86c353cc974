"""The commands that follow a search and a retraining, which they print at their end."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from darts.config import RetrainConfig, SearchConfig, compose
from darts.config.fields import flatten
from darts.config.overrides import repeated_overrides
from darts.data import sources
from darts.recipes.rules import DataFacts, Values, max_epochs, recipe
from darts.spaces.module.targets import is_passed


def retrain_command(
    directory: Path, overrides: Sequence[str], config: SearchConfig, facts: DataFacts | None = None
) -> str:
    """Return the command that trains the genotype of a search on the same data.

    On the user's own data, the hyperparameters follow from the data, and the network has the size
    of the supernet. On a published data set, hyperparameters and size are the defaults. For a model
    that was passed in Python, which a command line cannot know, the result is a call in Python.
    Directory, overrides and configuration belong to the search.
    """
    if is_passed():
        return "darts.retrain(run)"
    return shlex.join(["darts", "retrain", *retrain_words(directory, overrides, config, facts)])


def retrain_words(
    directory: Path, overrides: Sequence[str], config: SearchConfig, facts: DataFacts | None = None
) -> list[str]:
    """Return the overrides in ``retrain_command``."""
    arguments = repeated_overrides(
        overrides,
        space=config.space.name,
        space_keys=config.space.retrain_keys,
        task=config.task.name,
        dataset=config.dataset.name,
    )
    if config.limit.values() or config.front.enabled:
        # The sizes of the networks that the limits refer to.
        sizes = {key: getattr(config.space, key) for key in config.space.size_keys}
        arguments += [f"space.{key}={v}" for key, v in {**sizes, **config.limit.sizes}.items()]
    has_experiment = any(override.startswith("experiment/search=") for override in overrides)
    if facts is not None and not has_experiment and sources()[config.dataset.name].own:
        arguments += adapted_values(arguments, config, facts)
    return [f"genotype={directory}", *arguments]


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
