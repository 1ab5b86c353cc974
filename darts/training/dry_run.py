"""Estimate the cost of a run from a few of its own steps and epoch ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice

import torch

from darts.data import Batch, Loader
from darts.data.loader import PositionLoader
from darts.tracking import grams_of_co2
from darts.tracking.tensorboard import preload_tensorboard
from darts.training.device import peak_memory
from darts.training.loop import Recipe
from darts.training.run import energy_meter

MAX_STEPS = 5  # measured steps of one kind, after the warm-up step
MAX_SECONDS = 10.0  # when the warm-up step, or the measured steps together, take this long: stop
SCORED_SECONDS = 5.0  # when the batches of a pass over validation data take this long: stop
SCORED_BATCHES = 4  # batches of such a pass at most


@dataclass(frozen=True)
class FinalWork:
    """Work that a run does ``count`` times after its last epoch."""

    count: int
    work: Callable[[], object]


@dataclass
class StepExamples:
    """The steps of one kind, which have equal cost."""

    count: int = 0
    examples: list[tuple[int, int]] = field(default_factory=list)  # (epoch, step) of the first few


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of a whole run."""

    steps: int
    epochs: int
    seconds_per_step: float  # mean over all training steps
    base_memory_mb: float  # MB of 2**20 bytes before the first step; see peak_memory
    peak_memory_mb: float
    collapse_memory_mb: float  # part of the peak that collapse checks add
    seconds: float
    finish_seconds: float  # part of the seconds that follows the last epoch
    joules: float
    joules_source: str
    gco2e: float  # grams of CO2-equivalent


class ExtrapolatedLoader(PositionLoader[Batch]):
    """A loader whose passes end after a few batches; it estimates the time of the others.

    Args:
        loader: The complete loader.
        device: Device of the batches.

    Attributes:
        skipped_seconds: Estimated seconds of all skipped batches so far.
    """

    def __init__(self, loader: Loader, device: torch.device) -> None:
        self._loader, self._device = loader, device
        self.skipped_seconds = 0.0

    def __len__(self) -> int:
        return len(self._loader)

    @property
    def batch_share(self) -> tuple[int, int]:
        """The batch share of the complete loader."""
        return self._loader.batch_share

    def read(self, position: int) -> Batch:
        """Return the batch at a position of the complete loader."""
        return self._loader.batch(*divmod(position, len(self)))

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the first batches of a pass; measure the seconds that the caller spends on each."""
        seconds: list[float] = []
        for batch in islice(self._loader.epoch(epoch, first_step), SCORED_BATCHES):
            start = _synchronized_clock(self._device)
            yield batch
            seconds.append(_synchronized_clock(self._device) - start)
            if sum(seconds) >= SCORED_SECONDS:
                break
        skipped = len(self) - first_step - len(seconds)
        if seconds:
            self.skipped_seconds += skipped * statistics.median(seconds)


def estimate_cost(
    recipe: Recipe,
    *,
    epochs: int,
    final_work: Callable[[], Sequence[FinalWork]] = tuple,
    show: Callable[[str], None] = lambda text: None,
) -> CostEstimate:
    """Run one epoch of each kind with a few of its steps, and extrapolate to the whole run.

    The cost of a step is the median of up to ``MAX_STEPS`` steps of its kind, after a warm-up step.
    On a CPU, a warm-up step of at least ``MAX_SECONDS`` is the only measurement, because later
    steps would be only a little faster. The estimate limits the time of collapse checks as the run
    does (``Recipe.collapse_share``). The measurement trains the networks of the recipe, so do not
    use the recipe afterwards.

    Args:
        recipe: Recipe to measure. Its ``score_loader`` is an ``ExtrapolatedLoader`` or None.
        epochs: Epochs of the run.
        final_work: Returns the work after the last epoch; called after the measured epochs.
        show: Called with a line that says what is measured next.
    """
    ranks, tracking = recipe.run.ranks, recipe.config.tracking
    device, steps = ranks.device, len(recipe.state.train_loader)
    if tracking.figures or tracking.tensorboard:
        preload_tensorboard()  # its memory belongs to the base
    base = peak_memory(device)
    monitor = PhaseMonitor(device)
    recipe.monitor = monitor.phase
    meter = energy_meter(tracking.energy, ranks)
    meter.start()
    timer = StepTimer(recipe)
    epoch_kinds: dict[Hashable, list[int]] = {}
    for epoch in range(epochs):
        epoch_kinds.setdefault(recipe.epoch_kind(epoch), []).append(epoch)
    training = ends = checks = finish = 0.0  # seconds
    for number, same_kind in enumerate(epoch_kinds.values(), 1):
        show(f"measuring steps of epoch kind {number} of {len(epoch_kinds)}")
        training += timer.seconds_of(same_kind)
        show("measuring the end of an epoch")
        checked = monitor.seconds.get("collapse", 0.0) + recipe.skipped_seconds
        end = _epoch_end_seconds(recipe, same_kind[0], device) + recipe.skipped_seconds
        check = monitor.seconds.get("collapse", 0.0) + recipe.skipped_seconds - checked
        ends += len(same_kind) * (end - check)
        checks += len(same_kind) * check
    for final in final_work():
        if final.count:
            show("measuring the work after the last epoch")
            finish += final.count * timer.median([partial(_seconds_of, final.work, device)])
    if (share := recipe.collapse_share) is not None:
        checks = min(checks, share / (1 - share) * (training + ends + finish))
    energy = meter.read()
    seconds = training + ends + checks + finish
    joules = energy.joules / energy.seconds * seconds if energy.seconds else 0.0
    return CostEstimate(
        steps=epochs * steps,
        epochs=epochs,
        seconds_per_step=training / (epochs * steps),
        base_memory_mb=base / 2**20,
        peak_memory_mb=peak_memory(device) / 2**20,
        collapse_memory_mb=monitor.added.get("collapse", 0) / 2**20,
        seconds=seconds,
        finish_seconds=finish,
        joules=joules,
        joules_source=energy.source,
        gco2e=grams_of_co2(joules, tracking.energy.gco2_per_kwh),
    )


class PhaseMonitor:
    """Measures the seconds of each phase, and the bytes by which it raises the peak memory.

    Attributes:
        added: Bytes by phase.
        seconds: Seconds by phase.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.added: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the code inside the context."""
        before, start = peak_memory(self._device), _synchronized_clock(self._device)
        yield
        seconds = _synchronized_clock(self._device) - start
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.added[name] = self.added.get(name, 0) + peak_memory(self._device) - before


class StepTimer:
    """Measures each kind of step once, even if several kinds of epochs contain it."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe, self._ranks = recipe, recipe.run.ranks
        self._loader = recipe.state.train_loader
        self._seconds: dict[Hashable, float] = {}
        # On other devices, the first step also loads code.
        self._typical_warm_up = self._ranks.device.type == "cpu"

    def seconds_of(self, epochs: Sequence[int]) -> float:
        """Return the seconds of all steps of the given epochs, which are of one kind."""
        kinds = self._step_kinds(epochs)
        self._begin(epochs[0], 0)
        frequent = max(kinds, key=lambda kind: kinds[kind].count)
        # Measure the most frequent kind first, with a warm-up step that serves the others as well.
        for kind in sorted(kinds, key=lambda kind: kind != frequent):
            if kind not in self._seconds:
                measures = [partial(self._step_seconds, *step) for step in kinds[kind].examples]
                self._seconds[kind] = self.median(measures) if kind == frequent else measures[0]()
        self._begin(epochs[0], 0)
        return sum(kinds[kind].count * self._seconds[kind] for kind in kinds)

    def _step_kinds(self, epochs: Sequence[int]) -> dict[Hashable, StepExamples]:
        """Count the steps of the given epochs by kind."""
        kinds: dict[Hashable, StepExamples] = {}
        for epoch in epochs:
            for step in range(len(self._loader)):
                kind = kinds.setdefault(self._recipe.step_kind(epoch, step), StepExamples())
                kind.count += 1
                if len(kind.examples) <= MAX_STEPS:
                    kind.examples.append((epoch, step))
        return kinds

    def _begin(self, epoch: int, step: int) -> None:
        """Prepare the recipe for a step of an epoch."""
        self._recipe.state.step = step
        self._recipe.begin_epoch(epoch)

    def _step_seconds(self, epoch: int, step: int) -> float:
        self._begin(epoch, step)
        start = _synchronized_clock(self._ranks.device)
        self._recipe.train_step(self._loader.batch(epoch, step))
        return _synchronized_clock(self._ranks.device) - start

    def median(self, measures: Sequence[Callable[[], float]]) -> float:
        """Call measurements of equal work in turn; return the median of their seconds.

        The first call is a warm-up. All ranks measure equally often: the slowest rank decides when
        to stop.

        Args:
            measures: Functions that do the work and return its seconds.
        """
        source = cycle(measures)
        warm_up = next(source)()
        if self._typical_warm_up and self._is_long(warm_up):
            return warm_up
        seconds: list[float] = []
        while len(seconds) < MAX_STEPS and not self._is_long(sum(seconds)):
            seconds.append(next(source)())
        return statistics.median(seconds)

    def _is_long(self, seconds: float) -> bool:
        return self._ranks.all_reduce_max(round(1000 * seconds)) >= 1000 * MAX_SECONDS


def _seconds_of(work: Callable[[], object], device: torch.device) -> float:
    start = _synchronized_clock(device)
    work()
    return _synchronized_clock(device) - start


def _epoch_end_seconds(recipe: Recipe, epoch: int, device: torch.device) -> float:
    """Return the seconds of the end of an epoch, with an estimate for skipped batches."""
    loader = recipe.score_loader
    before = loader.skipped_seconds if isinstance(loader, ExtrapolatedLoader) else 0.0
    seconds = _seconds_of(lambda: recipe.end_epoch(epoch), device)
    if isinstance(loader, ExtrapolatedLoader):
        seconds += loader.skipped_seconds - before
    return seconds


def _synchronized_clock(device: torch.device) -> float:
    """Wait until the device has finished all queued work; return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
