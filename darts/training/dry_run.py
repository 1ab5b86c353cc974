"""Estimate the cost of a run from a few of its own steps and validation batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import torch

from darts.data import Batch, Loader
from darts.tracking import grams_of_co2
from darts.tracking.tensorboard import preload_tensorboard
from darts.training.device import peak_memory
from darts.training.distributed import Ranks
from darts.training.loop import Recipe
from darts.training.run import energy_meter

MAX_MEASUREMENTS = 5  # of equal work, after a warm-up
MAX_SECONDS = 10.0  # when the measurements of equal work together take this long: stop
SCORED_BATCHES = 2  # validation batches of a measurement


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of the training steps and the validation of a whole run."""

    steps: int
    epochs: int
    seconds_per_step: float  # mean over all training steps
    base_memory_mb: float  # MB of 2**20 bytes before the first step; see peak_memory
    peak_memory_mb: float
    seconds: float
    joules: float
    joules_source: str
    gco2e: float  # grams of CO2-equivalent


def estimate_cost(
    recipe: Recipe,
    epochs: Mapping[int, int],
    *,
    valid_loader: Loader | None,
    score: Callable[[Iterable[Batch]], object],
    show: Callable[[str], None] = lambda text: None,
) -> CostEstimate:
    """Measure a few steps and validation batches, and extrapolate to the whole run.

    The measurement trains the networks of the recipe, so do not use the recipe afterwards.

    Args:
        recipe: Recipe to measure.
        epochs: Number of epochs of each kind, by an epoch of this kind. The steps and the
            validation of epochs of one kind have equal cost.
        valid_loader: Validation data, scored at the end of each epoch, or None.
        score: Scores batches of validation data.
        show: Called with a line that says what is measured next.
    """
    ranks, tracking = recipe.run.ranks, recipe.config.tracking
    train_loader = recipe.state.train_loader
    if tracking.figures or tracking.tensorboard:
        preload_tensorboard()  # its memory belongs to the base
    base = peak_memory(ranks.device)
    meter = energy_meter(tracking.energy, ranks)
    meter.start()
    steps = cycle(range(len(train_loader)))

    def take_step(epoch: int) -> None:
        recipe.state.step = next(steps)
        recipe.begin_epoch(epoch)
        recipe.train_step(train_loader.batch(epoch, recipe.state.step))

    training = validation = 0.0  # seconds
    for number, (epoch, count) in enumerate(epochs.items(), 1):
        show(f"measuring steps of epoch kind {number} of {len(epochs)}")
        seconds = _median_seconds(partial(take_step, epoch), ranks)
        training += count * len(train_loader) * seconds
        if valid_loader is not None:
            show("measuring validation")
            validation += count * _validation_seconds(valid_loader, score, ranks)
    energy, total = meter.read(), sum(epochs.values())
    joules = energy.joules / energy.seconds * (training + validation) if energy.seconds else 0.0
    return CostEstimate(
        steps=total * len(train_loader),
        epochs=total,
        seconds_per_step=training / (total * len(train_loader)),
        base_memory_mb=base / 2**20,
        peak_memory_mb=peak_memory(ranks.device) / 2**20,
        seconds=training + validation,
        joules=joules,
        joules_source=energy.source,
        gco2e=grams_of_co2(joules, tracking.energy.gco2_per_kwh),
    )


def _validation_seconds(
    loader: Loader, score: Callable[[Iterable[Batch]], object], ranks: Ranks
) -> float:
    """Return the seconds of scoring all batches of a loader, from its first ones."""
    batches = min(SCORED_BATCHES, len(loader))
    seconds = _median_seconds(lambda: score(islice(loader.epoch(0), batches)), ranks)
    return seconds * len(loader) / max(1, batches)


def _median_seconds(work: Callable[[], object], ranks: Ranks) -> float:
    """Return the median seconds of a few calls, after a warm-up call.

    All ranks make equally many calls: the slowest rank decides when to stop.
    """
    work()
    seconds: list[float] = []
    while len(seconds) < MAX_MEASUREMENTS and not ranks.all_reduce_max(sum(seconds) >= MAX_SECONDS):
        start = _synchronized_clock(ranks.device)
        work()
        seconds.append(_synchronized_clock(ranks.device) - start)
    return statistics.median(seconds)


def _synchronized_clock(device: torch.device) -> float:
    """Wait until the device has finished all queued work; return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
