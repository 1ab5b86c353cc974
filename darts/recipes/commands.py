"""The commands that trials run, and their overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from darts.config import (
    Invocation,
    RetrainConfig,
    SearchConfig,
    check_fields,
    compose,
    require_plain_overrides,
)
from darts.config.resumed_run import ResumedRun
from darts.reading import JsonObject
from darts.recipes import retrain, search
from darts.strategies.judges import EpochCallback

TrialConfig = RetrainConfig | SearchConfig


def trial_config(target: str, overrides: Sequence[str]) -> TrialConfig:
    """Return the checked configuration of a trial that runs the command ``target``.

    Raises:
        ConfigError: If an override does more than set a key, or if the command refuses the
            configuration.
    """
    require_plain_overrides(target, overrides)
    config: TrialConfig = compose(target, overrides)
    _check(config)
    return config


def run_command(
    target: str, overrides: Sequence[str], directory: Path, on_epoch: EpochCallback | None = None
) -> JsonObject:
    """Run the command ``target`` in this process and return the content of its ``summary.json``.

    Args:
        target: ``retrain`` or ``search``.
        overrides: Command line of the run.
        directory: Run directory.
        on_epoch: Called after each epoch, see ``darts.strategies.judges.TrialSpec``.

    Raises:
        ConfigError: As ``trial_config``.
    """
    config = trial_config(target, overrides)
    return _run(config, Invocation(directory, tuple(overrides)), on_epoch)


def resume_command(target: str, directory: Path) -> JsonObject:
    """Resume a run of the command ``target`` in this process, with the configuration of the run.

    Args:
        target: ``retrain`` or ``search``.
        directory: Directory of the run.

    Returns:
        The content of its ``summary.json``.

    Raises:
        ConfigError: If the run cannot be resumed.
    """
    run = ResumedRun.load(target, str(directory))
    assert isinstance(run.config, RetrainConfig | SearchConfig)
    config: TrialConfig = dataclasses.replace(run.config, resume=str(run.directory))
    check_fields(config)
    _check(config)
    return _run(config, Invocation(run.directory, run.recorded_overrides))


def _check(config: TrialConfig) -> None:
    if isinstance(config, SearchConfig):
        search.check(config)
    else:
        retrain.check(config)


def _run(
    config: TrialConfig, invocation: Invocation, on_epoch: EpochCallback | None = None
) -> JsonObject:
    if isinstance(config, SearchConfig):
        return search.search(config, invocation, on_epoch=on_epoch)
    return retrain.retrain(config, invocation, on_epoch=on_epoch)


def merge_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the last override of each key, because Hydra refuses two options of a config group."""
    by_key = {override.partition("=")[0].lstrip("+"): override for override in overrides}
    return list(by_key.values())
