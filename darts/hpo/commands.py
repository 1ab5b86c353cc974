"""The commands that trials run, and their overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darts.config import Invocation, RetrainConfig, SearchConfig, compose, require_plain_overrides
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
    if isinstance(config, SearchConfig):
        search.check(config)
    else:
        retrain.check(config)
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
    invocation = Invocation(directory, tuple(overrides))
    if isinstance(config, SearchConfig):
        return search.search(config, invocation, on_epoch=on_epoch)
    return retrain.retrain(config, invocation, on_epoch=on_epoch)


def merge_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the last override of each key, because Hydra refuses two options of a config group."""
    by_key = {override.partition("=")[0].lstrip("+"): override for override in overrides}
    return list(by_key.values())
