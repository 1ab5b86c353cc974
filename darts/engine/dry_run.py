"""What a run will cost, told from some of its steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from darts.engine.device import peak_memory
from darts.tracking import EnergyMeter, duration, grams_of_co2
from darts.tracking.board import load_writers

MOST_STEPS = 5
MOST_SECONDS = 20.0  # for the steps of one stage

Rare = tuple[int, Callable[[], object]]
"""How often a run does something else that takes its time, and the doing of it."""


def dry_run(
    one_step: Callable[[int], object],
    one_score: Callable[[], object],
    *,
    steps: int,
    score_batches: int,
    epochs: int,
    device: torch.device,
    meter: EnergyMeter,
    gco2_per_kwh: float,
    enter: Callable[[int], object] = lambda epoch: None,
    stages: Sequence[tuple[int, int]] = (),
    rare: Sequence[Rare] = (),
    pictures: bool = False,
) -> dict[str, Any]:
    """Take a step to warm up and some to measure, score one batch, and add it all up.

    Where the work changes on the way, this is done in each stage.

    Args:
        one_step: does the training step of that number.
        one_score: scores one evaluation batch.
        steps: training steps an epoch.
        score_batches: evaluation batches an epoch.
        epochs: number of epochs.
        device: on which it runs.
        meter: of energy; joules are as many a second as while it is measured.
        gco2_per_kwh: grams of CO2-equivalent a kilowatt-hour causes.
        enter: makes ready for the epoch of that number.
        stages: first epoch and number of epochs of each; one of all epochs when not given.
        rare: what else is done now and then.
        pictures: whether the run loads what draws, which takes memory.

    Returns:
        ``base_memory_mb`` and ``peak_memory_mb`` before and after (of the whole process on the CPU,
        of the allocator on a GPU), ``seconds_per_step`` (a mean over the stages), the counts,
        ``estimated_seconds`` and, as text, ``estimated_time``, ``estimated_joules``, their source
        and ``estimated_gco2e``.
    """
    if pictures:
        load_writers()
    base = peak_memory(device)
    meter.start()
    training = scoring = others = 0.0
    for first, length in stages or [(0, epochs)]:
        enter(first)
        one_step(0)
        training += length * steps * _middle(one_step, steps, device)
        if score_batches:
            scoring += length * score_batches * _timed(one_score, device)
    for count, work in rare:
        others += count * _timed(work, device) if count else 0.0
    used = meter.read()
    seconds = training + scoring + others
    joules = used.joules / used.seconds * seconds if used.seconds else 0.0
    return {
        "steps": epochs * steps,
        "epochs": epochs,
        "seconds_per_step": training / (epochs * steps),
        "base_memory_mb": base / 2**20,
        "peak_memory_mb": peak_memory(device) / 2**20,
        "estimated_seconds": seconds,
        "estimated_time": duration(seconds),
        "estimated_joules": joules,
        "joules_source": used.source,
        "estimated_gco2e": grams_of_co2(joules, gco2_per_kwh),
    }


def _middle(one_step: Callable[[int], object], steps: int, device: torch.device) -> float:
    """The median of some steps' seconds."""
    taken: list[float] = []
    while len(taken) < MOST_STEPS and sum(taken) < MOST_SECONDS:
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
