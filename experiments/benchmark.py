"""Measurements of time and memory for the benchmarks."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from darts.training.device import peak_memory


def wait(device: str) -> None:
    """Wait until the device has finished all queued work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def time_once(function: Callable[[], object], device: str) -> float:
    """Return the seconds that one call takes."""
    wait(device)
    start = time.perf_counter()
    function()
    wait(device)
    return time.perf_counter() - start


def alternate(
    variants: dict[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, dict[str, float]]:
    """Time each variant once per round, so that the load of the machine affects all of them.

    Args:
        variants: What to time, by name; the first one is the reference for speedups.
        repeats: Number of rounds; a warm-up call of each variant precedes them.
        device: Device on which the variants compute.

    Returns:
        For each variant the median ``seconds`` and the ``speedup``: the median over the rounds of
        the first variant's time divided by its own.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for function in variants.values():
        time_once(function, device)  # warm-up
    for _ in range(repeats):
        for name, function in variants.items():
            times[name].append(time_once(function, device))
    base = next(iter(times.values()))
    return {
        name: {
            "seconds": statistics.median(own),
            "speedup": statistics.median(b / t for b, t in zip(base, own, strict=True)),
        }
        for name, own in times.items()
    }


def peak_megabytes(device: str) -> float:
    """Return the peak memory in MiB: of the allocator on a GPU, of the whole process on a CPU."""
    return peak_memory(torch.device(device)) / 2**20


def run_in_new_process(*arguments: str) -> Any:
    """Run this script again with other arguments and return the JSON of its last output line."""
    completed = subprocess.run(
        [sys.executable, sys.argv[0], *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    return json.loads(completed.stdout.strip().splitlines()[-1])
