"""What a run will cost, told from two of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
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
) -> dict[str, Any]:
    """Take one step to warm up and one to measure, score one batch, and add it all up.

    Args:
        one_step: does the training step of that number.
        one_score: scores one evaluation batch.
        steps: training steps an epoch.
        score_batches: evaluation batches an epoch.
        epochs: number of epochs.
        device: on which it runs.

    Returns:
        ``peak_memory_mb`` (of the whole process on the CPU, of the allocator on a GPU),
        ``seconds_per_step``, ``estimated_time`` and the counts it was computed from.
    """
    one_step(0)
    step_seconds = _timed(lambda: one_step(min(1, steps - 1)), device)
    score_seconds = _timed(one_score, device)
    total = epochs * (steps * step_seconds + score_batches * score_seconds)
    return {
        "steps": epochs * steps,
        "epochs": epochs,
        "seconds_per_step": step_seconds,
        "peak_memory_mb": peak_memory(device) / 2**20,
        "estimated_time": duration(total),
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
