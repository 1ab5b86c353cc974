"""Which searches and retrainings can run."""

from __future__ import annotations

from darts.config import ConfigError, RetrainConfig, SearchConfig
from darts.config.options import BenchmarkConfig, FrontConfig, PenaltyConfig, SearchLimitConfig
from darts.data_modules.compatibility import check_fold, check_training, data_kind
from darts.methods.stages import partial_of, stage_position
from darts.spaces.lookup import find_genotype
from darts.training.checkpoint import find_checkpoint
from darts.training.device import check_precision, resolve_device
from darts.training.steps import check_weight_optimizer

# Keys of the components that take part in a step of a search.
COMPONENTS = ("space", "task", "relaxation", "bilevel", "perturbation", "regularizer", "freezing")


def check_search(config: SearchConfig) -> None:
    """Raise ConfigError for an invalid combination of values, before any data is read."""
    check_training(config)
    check_components(config)
    if has_costs(config):
        # Few searches have such settings, and these modules import all of darts.judging.
        from darts.judging.limits import front_budgets, of_search

        of_search.check_limits(config)
        front_budgets.check_front(config)


def has_costs(config: SearchConfig) -> bool:
    """Return whether a search has limits, penalties, a front or a benchmark table."""
    own = config.limit, config.penalty, config.front, config.benchmark
    return own != (SearchLimitConfig(), PenaltyConfig(), FrontConfig(), BenchmarkConfig())


def check_components(config: SearchConfig) -> None:
    """Raise ConfigError if components do not work together."""
    space, relaxation, bilevel = config.space, config.relaxation, config.bilevel
    check_weight_optimizer(config.optimizer)
    if config.optimizer.schedule == "stable":
        raise ConfigError(
            "optimizer.schedule=stable: only a retraining has this schedule; choose cosine, linear "
            "or exponential"
        )
    if getattr(config.task, "calibrate", False):
        raise ConfigError("task.calibrate=true: only a retraining has a temperature; leave it out")
    if len(config.arch_optimizer.betas) != 2:
        raise ConfigError(f"arch_optimizer.betas={config.arch_optimizer.betas}: must be 2 numbers")
    if not relaxation.uses_alphas and (bilevel.updates_alphas or config.stopping.needs_curvature):
        raise ConfigError(
            f"relaxation={relaxation.name}: mixing weights do not depend on the alphas, so "
            f"bilevel={bilevel.name} stopping={config.stopping.name} have no gradient; choose "
            "bilevel=frozen stopping=never"
        )
    try:
        relaxation.check(space, config.all_stages)
    except ValueError as error:
        raise ConfigError(f"relaxation={relaxation.name}: {error}") from None
    collapse = config.collapse
    if collapse.action != "warn" and not relaxation.uses_alphas:
        raise ConfigError(
            f"collapse.action={collapse.action}: relaxation={relaxation.name} does not use the "
            "alphas, so no collapse check runs; choose collapse.action=warn"
        )
    if collapse.action != "warn" and not 0 < collapse.every <= config.epochs:
        raise ConfigError(
            f"collapse.action={collapse.action}: collapse.every={collapse.every} checks none of "
            f"epochs={config.epochs}; choose collapse.every from 1 to {config.epochs}, or "
            "collapse.action=warn"
        )
    if bilevel.requires_sgd and config.optimizer.algorithm != "sgd":
        raise ConfigError(
            f"bilevel={bilevel.name}: needs optimizer.algorithm=sgd, not "
            f"{config.optimizer.algorithm}; or choose bilevel=first_order"
        )
    device = resolve_device(config.device)
    check_precision(config.precision, device)
    skip_limit: int | None = getattr(config.discretize, "skip_limit", None)
    if space.skip_operation is None and skip_limit is not None:
        raise ConfigError(
            f"discretize.skip_limit={skip_limit}: space={space.name} has no skip connections; "
            "leave it out"
        )
    if config.discretize.drops_edges and not space.supports_missing_edges:
        raise ConfigError(
            f"discretize={config.discretize.name}: genotypes of space={space.name} keep all edges; "
            "choose discretize=argmax"
        )
    rule = config.discretize.edge_rule
    if rule not in ("two", *space.edge_rules):
        raise ConfigError(
            f"discretize.edges={rule}: space={space.name} has no such rule; set "
            "discretize.edges=two"
        )
    targets = (config.penalty.flops, config.penalty.parameters, config.penalty.latency)
    if rule != "two" and any(target is not None for target in targets):
        raise ConfigError(
            f"penalty: expected costs assume discretize.edges=two, not {rule}; leave penalty out"
        )
    if any(stage.skip_dropout for stage in config.stages) and not space.supports_skip_dropout:
        raise ConfigError(
            f"skip_dropout: space={space.name} has no skip connections to drop; set "
            "skip_dropout=0 in all stages"
        )
    if config.drop_path and not space.supports_drop_path:
        raise ConfigError(
            f"drop_path={config.drop_path}: the supernet of space={space.name} cannot drop edges; "
            "set drop_path=0"
        )
    stage_position(0, config.epochs, config.all_stages)  # raises if there are too few epochs
    for stage in config.stages:
        partial_of(relaxation.partial, stage)


def check_retraining(config: RetrainConfig) -> None:
    """Raise ConfigError for an invalid combination of values, before any data is read."""
    check_training(config)
    check_weight_optimizer(config.optimizer)
    if config.warmup > 0 and (
        config.optimizer.schedule != "cosine" or config.optimizer.warmup_epochs
    ):
        raise ConfigError(
            f"warmup={config.warmup}: belongs to optimizer.schedule=cosine without "
            "optimizer.warmup_epochs; set warmup=0"
        )
    if config.averaging_patience and config.average_power:
        raise ConfigError(
            f"averaging_patience={config.averaging_patience} and average_power="
            f"{config.average_power:g} are mutually exclusive; keep one of them"
        )
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
    for key, without in (("selection", "last"), ("averaging_patience", 0)):
        value = getattr(config, key)
        if config.validation == 0 and value != without:
            raise ConfigError(
                f"{key}={value} needs validation data, and validation=0 leaves none; set "
                f"validation above 0 or {key}={without}"
            )
    check_fold(config)
    _, genotype = find_genotype(config.genotype)
    if genotype.space != config.space.name:
        raise ConfigError(
            f"genotype={config.genotype!r} belongs to space={genotype.space}, not to "
            f"space={config.space.name}; add space={genotype.space}"
        )
    check_precision(config.precision, resolve_device(config.device))
