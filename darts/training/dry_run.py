"""A dry run: the cost of a run, estimated from a few of its own steps and validation batches."""

from __future__ import annotations

import dataclasses
import importlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

from darts.data import Batch, Loader
from darts.reading import JsonObject
from darts.tracking import (
    Console,
    EnergyMeter,
    format_duration,
    grams_of_co2,
    print_lines,
    print_summary,
)
from darts.training.device import peak_memory, synchronized_clock
from darts.training.distributed import Ranks
from darts.training.loop import Recipe

MAX_MEASUREMENTS = 5  # of equal work, after a warm-up
MAX_SECONDS = 10.0  # when the measurements of equal work together take this long: stop
SCORED_BATCHES = 2  # validation batches of a measurement


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of the training steps and the validation of a whole run."""

    steps: int
    epochs: int
    seconds_per_step: float  # mean over all training steps
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
        importlib.import_module("torch.utils.tensorboard")  # the run needs its memory, too
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
    size: Mapping[str, int], estimate: CostEstimate, *, not_counted: Sequence[str] = ()
) -> JsonObject:
    """Print the estimate of a dry run; return all printed values.

    ``size`` are parameters and MACs of the network, ``not_counted`` is work that the estimate
    omits.
    """
    values: JsonObject = {**size, **dataclasses.asdict(estimate)}
    values["estimated_time"] = format_duration(estimate.estimated_seconds)
    shown = {name: value for name, value in values.items() if name != "estimated_seconds"}
    print_summary("dry run", shown)
    if not_counted:
        print_lines("", f"not counted: {', '.join(not_counted)}")
    return {**values, "not_counted": list(not_counted)}
