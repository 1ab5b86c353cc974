"""Timing of forward passes on the machine that runs this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn

from darts.ops.float32 import float32_products
from darts.tracking.environment import cpu_model
from darts.training.device import synchronized_clock
from darts.typed_values import Name

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Size = Annotated[int, Meta(ge=1, le=10**9)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e9)]
# Keys of `DTYPES`.
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TimingSettings:
    """How forward passes are timed."""

    device: Name  # of PyTorch, for example cpu
    threads: Size  # of PyTorch on the CPU
    batch_size: Size
    precision: Precision  # of weights and activations
    warmup: Annotated[int, Meta(ge=0, le=10**9)]  # passes of each module before the timed ones
    repeats: Size  # timed passes of each module


@dataclass(frozen=True)
class Timing:
    """Times of the passes of one module."""

    median_ms: Milliseconds
    spread_ms: Milliseconds  # interquartile range
    count: Size


@contextmanager
def timing(settings: TimingSettings) -> Iterator[None]:
    """Set the number of threads and forbid TF32 for the duration of a ``with`` block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with torch.inference_mode(), float32_products(tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def example(shape: tuple[int, ...], settings: TimingSettings) -> Tensor:
    """Return a batch of random samples of a shape, in the memory format that networks use."""
    draw = torch.Generator().manual_seed(0)
    batch = torch.randn(settings.batch_size, *shape, generator=draw)
    if batch.ndim == 4:
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch.to(settings.device, DTYPES[settings.precision])


def place(module: nn.Module, settings: TimingSettings) -> nn.Module:
    """Move a module to the device and the type of the measurement, in evaluation mode."""
    return module.eval().to(settings.device, DTYPES[settings.precision])


def time_passes(
    passes: Sequence[Callable[[Any], object]],
    inputs: Sequence[object],
    settings: TimingSettings,
    after_round: Callable[[], None] = lambda: None,
) -> list[Timing]:
    """Time forward passes of several modules in evaluation mode, or other functions of an input.

    They run in rounds, one pass of each per round. Phases in which the machine is slow therefore
    affect all of them alike, and a module finds the caches as other modules left them, as in a
    network. Call it within ``timing(settings)``.
    """
    for forward in passes:
        if isinstance(forward, nn.Module):
            place(forward, settings)
    device = torch.device(settings.device)
    times = np.zeros((settings.warmup + settings.repeats, len(passes)))
    for row in times:
        for column, (forward, batch) in enumerate(zip(passes, inputs, strict=True)):
            start = synchronized_clock(device)
            forward(batch)
            row[column] = 1000 * (synchronized_clock(device) - start)
        after_round()
    quartiles = np.percentile(times[settings.warmup :], [25, 50, 75], axis=0)
    return [
        Timing(median, high - low, settings.repeats) for low, median, high in quartiles.T.tolist()
    ]


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_model() or "unknown"
