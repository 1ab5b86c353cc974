"""What a run will cost, told from two of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from darts.engine.device import peak_memory
from darts.tracking import duration


def dry_run(
    one_step: Callable[[int], object],
    one_score: Callable[[], object],
    *,
    steps: int,
    score_batches: int,
    epochs: int,
    device: torch.device,
    enter: Callable[[int], object] = lambda epoch: None,
    stages: Sequence[tuple[int, int]] = (),
) -> dict[str, Any]:
    """Take one step to warm up and one to measure, score one batch, and add it all up.

    Where the work changes on the way, this is done in each stage.

    Args:
        one_step: does the training step of that number.
        one_score: scores one evaluation batch.
        steps: training steps an epoch.
        score_batches: evaluation batches an epoch.
        epochs: number of epochs.
        device: on which it runs.
        enter: makes ready for the epoch of that number.
        stages: first epoch and number of epochs of each; one of all epochs when not given.

    Returns:
        ``peak_memory_mb`` (of the whole process on the CPU, of the allocator on a GPU),
        ``seconds_per_step`` (a mean), ``estimated_time`` and the counts it was computed from.
    """
    training = scoring = 0.0
    for first, length in stages or [(0, epochs)]:
        enter(first)
        one_step(0)
        training += length * steps * _timed(lambda: one_step(min(1, steps - 1)), device)
        scoring += length * score_batches * _timed(one_score, device)
    return {
        "steps": epochs * steps,
        "epochs": epochs,
        "seconds_per_step": training / (epochs * steps),
        "peak_memory_mb": peak_memory(device) / 2**20,
        "estimated_time": duration(training + scoring),
    }


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
