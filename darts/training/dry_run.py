"""A dry run: the cost of a run, estimated from a few of its own steps and validation batches.

If the estimate exceeds the budget, the dry run suggests changes.

References:
    Learning rates that grow with the batch size: Goyal et al., "Accurate, Large Minibatch SGD",
    arXiv:1706.02677, section 2.1. Rates for Adam that grow with its square root: Malladi et al.,
    "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", arXiv:2205.10287.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import torch

from darts.config import ConfigError, RetrainConfig, RunConfig, SearchConfig
from darts.data import Batch, Loader
from darts.reading import JsonObject
from darts.tracking import Console, EnergyMeter, format_duration, grams_of_co2, print_summary
from darts.training.device import peak_memory, synchronized_clock
from darts.training.distributed import Ranks
from darts.training.loop import Recipe

MAX_MEASUREMENTS = 5  # of equal work, after a warm-up
MAX_SECONDS = 10.0  # when the measurements of equal work together take this long: stop
SCORED_BATCHES = 2  # validation batches of a measurement
MIN_BATCH = 8  # smaller batches have unreliable batch norm statistics; advice uses its multiples


def check_budget(config: RunConfig) -> None:
    """Raise ConfigError for a budget without a dry run."""
    for key in ("hours", "memory_mb"):
        value = getattr(config.budget, key)
        if value is not None and not config.dry_run:
            raise ConfigError(
                f"budget.{key}={value:g}: only a dry run compares its estimate with a budget; "
                "add dry_run=true or leave it out"
            )


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of the training steps and the validation of a whole run."""

    steps: int
    epochs: int
    seconds_per_step: float  # mean over all training steps
    base_memory_mb: float  # MB of 2**20 bytes before the first step; see peak_memory
    peak_memory_mb: float
    estimated_seconds: float
    estimated_joules: float
    joules_source: str
    estimated_gco2e: float  # grams of CO2-equivalent


def estimate_cost(
    recipe: Recipe,
    epochs: Mapping[int, int],
    *,
    valid_loader: Loader | None,
    score: Callable[[Iterable[Batch]], object],
) -> CostEstimate:
    """Measure a few steps and validation batches, and extrapolate to the whole run.

    The measurement trains the networks of the recipe, so do not use the recipe afterwards.

    Args:
        recipe: Recipe to measure.
        epochs: Number of epochs of each kind, by an epoch of this kind. The epochs of one kind have
            equal cost.
        valid_loader: Validation data, scored at the end of each epoch, or None.
        score: Scores batches of validation data.
    """
    console = Console(total_steps=0, name="dry run")
    ranks, tracking = recipe.run.ranks, recipe.config.tracking
    train_loader = recipe.state.train_loader
    if tracking.figures or tracking.tensorboard:
        importlib.import_module("torch.utils.tensorboard")  # its memory belongs to the base
    base = peak_memory(ranks.device)
    meter = EnergyMeter(tracking.energy, ranks.device, read_rapl=ranks.local_rank == 0)
    steps = cycle(range(len(train_loader)))

    def take_step(epoch: int) -> None:
        recipe.state.step = next(steps)
        recipe.begin_epoch(epoch)
        recipe.train_step(train_loader.batch(epoch, recipe.state.step))

    def score_first(loader: Loader, batches: int) -> None:
        score(islice(loader.epoch(0), batches))

    training = validation = 0.0  # seconds
    for number, (epoch, count) in enumerate(epochs.items(), 1):
        console.info(f"measuring steps of epoch kind {number} of {len(epochs)}")
        seconds = median_seconds(partial(take_step, epoch), ranks)
        training += count * len(train_loader) * seconds
        if valid_loader is not None:
            console.info("measuring validation")
            batches = min(SCORED_BATCHES, len(valid_loader))
            seconds = median_seconds(partial(score_first, valid_loader, batches), ranks)
            validation += count * seconds * len(valid_loader) / max(1, batches)
    energy, total = meter.read(), sum(epochs.values())
    joules = energy.joules / energy.seconds * (training + validation) if energy.seconds else 0.0
    return CostEstimate(
        steps=total * len(train_loader),
        epochs=total,
        seconds_per_step=training / (total * len(train_loader)),
        base_memory_mb=base / 2**20,
        peak_memory_mb=peak_memory(ranks.device) / 2**20,
        estimated_seconds=training + validation,
        estimated_joules=joules,
        joules_source=energy.source,
        estimated_gco2e=grams_of_co2(joules, tracking.energy.gco2_per_kwh),
    )


def median_seconds(work: Callable[[], object], ranks: Ranks) -> float:
    """Return the median seconds of a few calls, after a warm-up call.

    All ranks make equally many calls: the slowest rank decides when to stop.
    """
    work()
    seconds: list[float] = []
    while len(seconds) < MAX_MEASUREMENTS and not ranks.all_reduce_max(sum(seconds) >= MAX_SECONDS):
        start = synchronized_clock(ranks.device)
        work()
        seconds.append(synchronized_clock(ranks.device) - start)
    return statistics.median(seconds)


def print_estimate(
    config: SearchConfig | RetrainConfig,
    size: Mapping[str, int],
    estimate: CostEstimate,
    device: torch.device,
    *,
    not_counted: Sequence[str] = (),
) -> JsonObject:
    """Print the estimate and the advice of a dry run; return all printed values.

    ``size`` are parameters and MACs of the network, ``not_counted`` is work that the estimate
    omits. The result holds the advice as a list of lines.
    """
    values: JsonObject = {**size, **dataclasses.asdict(estimate)}
    values["estimated_time"] = format_duration(estimate.estimated_seconds)
    shown = {name: value for name, value in values.items() if name != "estimated_seconds"}
    print_summary("dry run", shown)
    lines = advice(config, estimate, device.type)
    if lines:
        print("\n" + "\n".join(lines))
    elif config.budget.hours is not None or config.budget.memory_mb is not None:
        counted = "The counted part" if not_counted else "The run"
        print(f"\n{counted} fits the budget.")
    if not_counted:
        print(f"\nnot counted: {', '.join(not_counted)}")
    return {**values, "not_counted": list(not_counted), "advice": lines}


def advice(config: SearchConfig | RetrainConfig, estimate: CostEstimate, device: str) -> list[str]:
    """Return one line per exceeded limit and per possible saving; [] if the run fits."""
    hours, memory_mb = config.budget.hours, config.budget.memory_mb
    lines = []
    if memory_mb is not None and estimate.peak_memory_mb > memory_mb:
        lines.append(
            f"memory: the estimate of {estimate.peak_memory_mb:,.0f} MB exceeds "
            f"budget.memory_mb={memory_mb:g}; {_smaller_batch(config, estimate, memory_mb)}"
        )
    if hours is not None and estimate.estimated_seconds > 3600 * hours:
        fit = math.floor(config.epochs * 3600 * hours / estimate.estimated_seconds)
        change = f"set epochs={fit}" if fit else "not even one epoch fits: reduce dataset.subset"
        lines.append(
            f"time: the estimate of {estimate.estimated_seconds / 3600:.2g} hours exceeds "
            f"budget.hours={hours:g}; {change}"
        )
    if lines:
        savings = find_savings(config, device)
        lines += [f"or {override}: {effect}" for override, effect in savings.items()]
    return lines


def _smaller_batch(
    config: SearchConfig | RetrainConfig, estimate: CostEstimate, memory_mb: float
) -> str:
    """Return advice on the batch size; the memory above the base is proportional to it."""
    base = estimate.base_memory_mb
    added = estimate.peak_memory_mb - base
    share = (memory_mb - base) / added if added > 0 else 0.0
    batch = math.floor(config.loader.batch_size * share)
    batch -= batch % MIN_BATCH
    if batch < MIN_BATCH:
        return f"no smaller batch fits, because {base:,.0f} MB are used before the first step"
    factor = batch / config.loader.batch_size
    adam = config.optimizer.algorithm == "adam"
    lr = config.optimizer.lr * (math.sqrt(factor) if adam else factor)
    return (
        f"set loader.batch_size={batch} optimizer.lr={lr:.2g} "
        f"(about {base + added * factor:,.0f} MB)"
    )


def find_savings(config: SearchConfig | RetrainConfig, device: str) -> dict[str, str]:
    """Return overrides that make a run cheaper, and what each does; ``device`` is its type."""
    savings: dict[str, str] = {}
    search = config if isinstance(config, SearchConfig) else None
    if search is not None:
        if search.memory == "full":
            savings["memory=checkpoint"] = "cells are computed twice instead of stored"
        if search.relaxation.partial == 1 and search.space.supports_partial:
            savings["relaxation.partial=4"] = (
                "a quarter of the channels is mixed: less time and less memory"
            )
    if config.precision == "fp32" and device != "cpu":
        savings["precision=bf16"] = "half the memory of stored tensors, and faster"
    if search is not None and search.bilevel.name == "unrolled":
        savings["bilevel=first_order"] = "about two fifths of the time"
    return savings
