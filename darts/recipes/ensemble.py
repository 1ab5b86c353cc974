"""Combine the checkpoints of several training runs in the checkpoint of an ensemble."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from darts.config import ConfigError
from darts.data_modules import load_options
from darts.recipes.trained import Member, TrainedNetwork
from darts.spaces.averaging import Ensemble
from darts.tasks.sample_objective import SampleTask
from darts.training.checkpoint import FILE, NETWORK, save_checkpoint


def fits_together(first: TrainedNetwork, other: TrainedNetwork) -> bool:
    """Return whether two networks can be in one ensemble.

    Both must return one row of outputs for each sample, and have the same task, data set, inputs
    and targets.
    """
    return _difference(first, other) is None


def save_ensemble(target: Path, members: Sequence[Path], counts: Sequence[int]) -> None:
    """Write the checkpoint of an ensemble, which ``darts.load`` and other commands accept.

    It has the configuration of the first member and the best weights of each member. It cannot be
    trained further.

    Args:
        target: Folder of the file; it is made if there is none.
        members: Run directories of retrainings, or their checkpoint files.
        counts: How often each member counts. Members with 0 are left out.

    Raises:
        ConfigError: If there are no members with a positive count, a count is negative, a member
            is an ensemble itself, or two members do not fit together.
        CheckpointError: If a checkpoint is damaged.
        WriteError: If the file cannot be written.
    """
    if not any(counts) or min(counts) < 0:
        raise ConfigError(f"counts={list(counts)}: must be >= 0, and at least one above 0")
    pairs = [pair for pair in zip(members, counts, strict=True) if pair[1]]
    trained = [TrainedNetwork.load(str(run)) for run, _ in pairs]
    weights = [count for _, count in pairs]
    first = trained[0]
    for other in (*trained[1:], first):
        if other.members:
            raise ConfigError(f"{other.file}: is an ensemble, which cannot be a member of another")
        if (difference := _difference(first, other)) is not None:
            raise ConfigError(
                f"{first.file} and {other.file} cannot form an ensemble: {difference}"
            )
    net = Ensemble([own.build() for own in trained], weights, first.config.task.targets)
    ensemble = dataclasses.replace(
        first, members=tuple(Member(own.config, n) for own, n in zip(trained, weights, strict=True))
    )
    best = {"epoch": first.epoch, "scores": {}, "net": net.state_dict()}
    save_checkpoint(target / FILE, NETWORK, {**ensemble.entries(), "best": best})


def _difference(first: TrainedNetwork, other: TrainedNetwork) -> str | None:
    """Return why two networks cannot be in one ensemble; None if they can."""
    task = first.config.task
    if not isinstance(task, SampleTask):
        return f"networks of task={task.name} do not return one row of outputs for each sample"
    if task.name != other.config.task.name:
        return f"task is {task.name} and {other.config.task.name}"
    names = ("target_names", "target_scale", "network_sizes", "input_specs", "encoding")
    for name in names:
        if getattr(first, name) != getattr(other, name):
            return f"{name} differs"
    data, other_data = (
        {"name": config.dataset.name, **load_options(config)}
        for config in (first.config, other.config)
    )
    for name in {**data, **other_data}:
        if data.get(name) != other_data.get(name):
            return f"dataset.{name} is {data.get(name)!r} and {other_data.get(name)!r}"
    return None
