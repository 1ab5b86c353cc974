"""Device, precision and random states of a run."""

from __future__ import annotations

import os
import random
import time
from contextlib import AbstractContextManager
from typing import Annotated, Literal, TypedDict

import msgspec
import numpy as np
import torch
from torch import Tensor

from darts.config import ConfigError
from darts.ops.float32 import float32_products
from darts.typed_values import typed

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_Position = Annotated[int, msgspec.Meta(ge=0, le=624)]  # NumPy does not check it


def resolve_device(name: str) -> torch.device:
    """Return the named device; ``auto`` selects CUDA if present, else MPS, else the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    choices = "choose from auto, cpu, cuda, cuda:N, mps"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device={name!r} is unknown; {choices}") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device={name!r} is not supported; {choices}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device={name!r}: PyTorch sees {torch.cuda.device_count()} CUDA devices; {choices}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device={name!r}: PyTorch sees no such device; {choices}")
    return device


def synchronized_clock(device: torch.device) -> float:
    """Wait until the device has finished all queued work; return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def visible_gpus() -> list[str]:
    """Return the CUDA devices of this process, as named in ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]


def round_robin_gpu(number: int) -> dict[str, str]:
    """Return environment variables that assign one of several GPUs to the nth child process."""
    gpus = visible_gpus()
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else {}


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigError if the device does not support the precision."""
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision=fp16: needs a GPU; choose fp32 or bf16 on the CPU")
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision=tf32: needs an NVIDIA GPU; choose fp32 or bf16")


def precision_context(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context of a precision: autocast, or float32 products with or without TF32.

    Weight steps use it for their forward pass only, because ``TrainingLoop`` sets TF32 for backward
    passes. Architecture steps also compute their gradients in it.
    """
    if precision in _AUTOCAST:
        return torch.autocast(device.type, dtype=_AUTOCAST[precision])
    return float32_products(tf32=precision == "tf32")


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Return a loss scaler, which is enabled for fp16 only."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def seed_everything(seed: int) -> None:
    """Seed all global generators; data uses its own generators (``darts.data.randomness``)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class _CpuStates(TypedDict):
    python: tuple[Literal[3], tuple[int, ...], float | None]  # of random.getstate
    numpy: tuple[Literal["MT19937"], list[int], _Position, int, float]  # of numpy.random.get_state
    torch: Tensor  # (n,) uint8


class RandomStates(_CpuStates, total=False):
    """States of all global generators, including the GPU if the run is on one."""

    cuda: Tensor  # (n,) uint8
    mps: Tensor  # (n,) uint8


def random_states(device: torch.device) -> RandomStates:
    """Return the states of the global generators of Python, NumPy and PyTorch as plain values.

    The generators of other GPUs do not belong to the run, so the number of visible GPUs may change
    before it resumes.
    """
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    states: RandomStates = {
        "python": random.getstate(),
        "numpy": ("MT19937", state[1].tolist(), *state[2:]),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(saved: object, device: torch.device) -> None:
    """Restore what ``random_states`` returned; ignore the state of a GPU of another kind."""
    states = typed(RandomStates, saved, "random")
    random.setstate(states["python"])
    name, key, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, np.array(key, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def peak_memory(device: torch.device) -> int:
    """Return peak memory in bytes: of the allocator on a GPU, of the process on a CPU.

    MPS reports no peak; the result is then the memory that the driver holds now.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    import resource
    import sys
    from pathlib import Path

    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the peak of the parent process
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
