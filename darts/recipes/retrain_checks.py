"""Which retrainings can run, and which of them as CUDA graphs."""

from __future__ import annotations

from darts.config import ConfigError, RetrainConfig
from darts.data_modules import check_fold, check_training
from darts.data_modules.compatibility import data_kind
from darts.spaces import space_of
from darts.spaces.lookup import find_genotype
from darts.training.averaging import require_at_most_one_average
from darts.training.checkpoint import find_checkpoint
from darts.training.device import check_precision, resolve_device
from darts.training.distributed import Ranks
from darts.training.dry_run import check_budget
from darts.training.graphs import capture_obstacle
from darts.training.steps import check_weight_optimizer


def check(config: RetrainConfig) -> None:
    """Raise ConfigError for an invalid combination of values, before any data is read."""
    check_training(config)
    check_budget(config)
    check_weight_optimizer(config.optimizer)
    if config.warmup > 0 and (
        config.optimizer.schedule != "cosine" or config.optimizer.warmup_epochs
    ):
        raise ConfigError(
            f"warmup={config.warmup}: belongs to optimizer.schedule=cosine without "
            "optimizer.warmup_epochs; set warmup=0"
        )
    require_at_most_one_average(config.ema_decay, config.averaging_patience, config.average_power)
    if config.max_seconds is not None and config.optimizer.schedule != "stable":
        raise ConfigError(
            f"max_seconds={config.max_seconds:g}: the learning rate depends on the number of "
            "epochs; set optimizer.schedule=stable"
        )
    if config.start is not None and config.resume is None:
        find_checkpoint(config.start, key="start")
    if config.start is None and config.start_epoch != "last":
        raise ConfigError(f"start_epoch={config.start_epoch} needs start=DIR")
    if config.mirror and data_kind(config) != "images":
        raise ConfigError(f"mirror=true: dataset={config.dataset.name} contains no images")
    if config.validation == 0:
        patience = config.averaging_patience
        for setting, chosen, alternative in (
            ("selection=best", config.selection == "best", "selection=last"),
            (f"averaging_patience={patience}", patience > 0, "averaging_patience=0"),
        ):
            if chosen:
                raise ConfigError(
                    f"{setting} needs validation data, and validation=0 leaves none; set "
                    f"validation above 0 or {alternative}"
                )
    check_fold(config)
    _, genotype = find_genotype(config.genotype)
    space = space_of(genotype).name
    if space != config.space.name:
        raise ConfigError(
            f"genotype={config.genotype!r} belongs to space={space}, not to "
            f"space={config.space.name}; add space={space}"
        )
    check_precision(config.precision, resolve_device(config.device))


def graph_obstacle(config: RetrainConfig, ranks: Ranks) -> str | None:
    """Return why a step of a retraining cannot be captured as a CUDA graph; None if it can."""
    if config.warmup > 0:
        return f"warmup={config.warmup:g}: the learning rate changes with each step"
    if config.optimizer.schedule == "stable":
        return "optimizer.schedule=stable: the learning rate changes with each step"
    if config.ema_decay or config.averaging_patience or config.average_power:
        return "the CPU reads how many steps are averaged"
    return capture_obstacle(config, ranks, ("space", "task"))
