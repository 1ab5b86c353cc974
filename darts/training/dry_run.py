"""What a run will cost, told from some of its steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from darts.tracking import EnergyMeter, duration, grams_of_co2
from darts.tracking.board import load_writers
from darts.training.device import peak_memory

MOST_STEPS = 5
MOST_SECONDS = 20.0  # for the steps of one span

Rare = tuple[int, Callable[[], object]]
"""How often a run does something that takes its time, and the doing of it."""


@dataclass(frozen=True)
class Span:
    """Epochs whose steps are alike.

    Attributes:
        epochs: how many.
        step: does the training step of that number.
        first: number of the first of them.
        rare: what is done now and then in them, beside steps and scores.
    """

    epochs: int
    step: Callable[[int], object]
    first: int = 0
    rare: Sequence[Rare] = ()


def dry_run(
    spans: Sequence[Span],
    one_score: Callable[[], object],
    *,
    steps: int,
    score_batches: int,
    device: torch.device,
    meter: EnergyMeter,
    gco2_per_kwh: float,
    enter: Callable[[int], object] = lambda epoch: None,
    finish: Callable[[], Sequence[Rare]] = lambda: (),
    pictures: bool = False,
    highest: Callable[[int], int] = int,
) -> dict[str, Any]:
    """Take a step to warm up and some to measure, score one batch, and add it all up.

    This is done in each span. What is rare there is done once, and what ends the run as steps are:
    once to warm up and some times more.

    Args:
        spans: all epochs of the run.
        one_score: scores one evaluation batch.
        steps: training steps an epoch.
        score_batches: evaluation batches an epoch.
        device: on which it runs.
        meter: of energy; joules are as many a second as while it is measured.
        gco2_per_kwh: grams of CO2-equivalent a kilowatt-hour causes.
        enter: makes ready for the epoch of that number.
        finish: what is done behind the last epoch; asked for there.
        pictures: whether the run loads what draws, which takes memory.
        highest: of a number of each rank.

    Returns:
        ``base_memory_mb`` and ``peak_memory_mb`` before and after (of the whole process on the CPU,
        of the allocator on a GPU), ``seconds_per_step`` (a mean over the epochs), the counts,
        ``estimated_seconds``, ``finish_seconds`` of them that do not depend on the number of epochs
        and, as text, ``estimated_time``, ``estimated_joules``, their source and
        ``estimated_gco2e``.
    """
    if pictures:
        load_writers()
    base = peak_memory(device)
    meter.start()
    epochs = sum(span.epochs for span in spans)
    training = scoring = others = finishing = 0.0
    for span in spans:
        enter(span.first)
        training += span.epochs * steps * _middle(span.step, steps, device, highest)
        if score_batches:
            scoring += span.epochs * score_batches * _timed(one_score, device)
        others += sum(count * _timed(work, device) for count, work in span.rare if count)
    for count, work in finish():
        if count:
            finishing += count * _middle(lambda number, work=work: work(), 1, device, highest)  # type: ignore[misc]
    used = meter.read()
    seconds = training + scoring + others + finishing
    joules = used.joules / used.seconds * seconds if used.seconds else 0.0
    return {
        "steps": epochs * steps,
        "epochs": epochs,
        "seconds_per_step": training / (epochs * steps),
        "base_memory_mb": base / 2**20,
        "peak_memory_mb": peak_memory(device) / 2**20,
        "estimated_seconds": seconds,
        "finish_seconds": finishing,
        "estimated_time": duration(seconds),
        "estimated_joules": joules,
        "joules_source": used.source,
        "estimated_gco2e": grams_of_co2(joules, gco2_per_kwh),
    }


def _middle(
    one_step: Callable[[int], object],
    steps: int,
    device: torch.device,
    highest: Callable[[int], int],
) -> float:
    """The median of some steps' seconds, after one to warm up.

    Ranks step together, so that the slowest clock ends it for all.
    """
    one_step(0)
    taken: list[float] = []
    while len(taken) < MOST_STEPS and highest(round(1000 * sum(taken))) < 1000 * MOST_SECONDS:
        number = (len(taken) + 1) % steps
        taken.append(_timed(lambda number=number: one_step(number), device))  # type: ignore[misc]
    return statistics.median(taken)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds the work takes, the device's queue included."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
