"""The commands that trials run, and their overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from darts.config import (
    ConfigError,
    Invocation,
    RetrainConfig,
    SearchConfig,
    compose,
    require_plain_overrides,
)
from darts.config.resumed_run import ResumedRun
from darts.reading import JsonObject
from darts.recipes import retrain, search
from darts.training.checkpoint import FILE, checkpoint_errors, load_checkpoint
from darts.typed_values import entry

TrialConfig = RetrainConfig | SearchConfig

# The check and the function of each command, by name.
_COMMANDS: Mapping[str, tuple[Callable[..., None], Callable[..., JsonObject]]] = {
    "search": (search.check, search.search),
    "retrain": (retrain.check, retrain.retrain),
}


def trial_config(target: str, overrides: Sequence[str]) -> TrialConfig:
    """Return the checked configuration of a trial that runs the command ``target``.

    Raise ConfigError for a dry run, which has no result.
    """
    config = _composed(target, overrides)
    if config.dry_run:
        raise ConfigError(f"dry_run=true: only darts {target} predicts the cost of a run")
    check, _ = _COMMANDS[target]
    check(config)
    return config


def search_config(overrides: Sequence[str]) -> SearchConfig:
    """Return the checked configuration of a search."""
    return cast("SearchConfig", trial_config("search", overrides))


def retrain_config(overrides: Sequence[str]) -> RetrainConfig:
    """Return the checked configuration of a retraining."""
    return cast("RetrainConfig", trial_config("retrain", overrides))


def run_command(target: str, overrides: Sequence[str], directory: Path) -> JsonObject:
    """Run the command ``target`` in this process and return the content of its ``summary.json``."""
    config = _composed(target, overrides)
    check, command = _COMMANDS[target]
    check(config)
    return command(config, Invocation(directory, tuple(overrides)))


def resume_command(target: str, directory: Path, changes: Sequence[str] = ()) -> JsonObject:
    """Resume a run of the command ``target`` in this process; return its ``summary.json``.

    ``changes`` are overrides of the saved configuration, such as ``["epochs=20"]``.
    """
    run = ResumedRun.load(target, str(directory))
    config = dataclasses.replace(_composed(target, changes, run), resume=str(run.directory))
    check, command = _COMMANDS[target]
    check(config)
    return command(config, Invocation(run.directory, (*run.recorded_overrides, *changes)))


def would_continue(target: str, directory: Path, changes: Sequence[str]) -> bool:
    """Return whether a complete run would train longer with these changes of its configuration."""
    config = _composed(target, changes, ResumedRun.load(target, str(directory)))
    saved = load_checkpoint(directory / FILE, target)
    with checkpoint_errors(directory):
        return config.extends(entry(saved, "config", JsonObject))


def _composed(target: str, overrides: Sequence[str], run: ResumedRun | None = None) -> TrialConfig:
    require_plain_overrides(target, overrides)
    config: TrialConfig = compose(target, overrides, run)
    return config


def merge_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the last override of each key, because Hydra rejects two options of a config group."""
    return list(overrides_by_key(overrides).values())


def overrides_by_key(overrides: Sequence[str]) -> dict[str, str]:
    """Return the last override of each key, such as ``epochs`` of ``+epochs=3``."""
    return {override.partition("=")[0].lstrip("+"): override for override in overrides}
