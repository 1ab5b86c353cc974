"""Device, precision and random seeds of a run."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from darts.config import ConfigError

PRECISIONS = ("fp32", "bf16", "fp16")
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the named device; ``auto`` selects CUDA if present, else MPS, else the CPU.

    Raises:
        ConfigError: When the name is unknown or the device is absent.
    """
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


def visible_gpus() -> list[str]:
    """Return the CUDA devices of this process, as named in ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]


def round_robin_gpu(number: int) -> dict[str, str]:
    """Return environment variables that assign one of several GPUs to a child process.

    Args:
        number: Number of the process, from 0.

    Returns:
        ``CUDA_VISIBLE_DEVICES``, or nothing if this process sees at most one GPU.
    """
    gpus = visible_gpus()
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else {}


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device does not support.

    Raises:
        ConfigError: For fp16 on the CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision=fp16: needs a GPU; choose fp32 or bf16 on the CPU")


def check_compiler(device: torch.device, *, ranks: int) -> None:
    """Refuse ``compile=true`` where it is not supported.

    Args:
        device: Device of the run.
        ranks: Number of processes of the run.

    Raises:
        ConfigError: On several ranks, on MPS, or on a CPU without a C++ compiler.
    """
    if ranks > 1:
        raise ConfigError("compile=true: needs a single process; leave it out under torchrun")
    if device.type == "mps":
        raise ConfigError("compile=true: needs a CPU or a CUDA GPU; leave it out on mps")
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "cl"]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise ConfigError(
            f"compile=true: no C++ compiler found ({', '.join(compilers)}); leave it out, install "
            "one, or set CXX"
        )


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context manager for forward passes; for fp32 it does nothing."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_AUTOCAST[precision])


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Return a loss scaler, which is enabled for fp16 only."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def seed_everything(seed: int) -> None:
    """Seed all global generators; data uses its own generators (``darts.data.randomness``)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


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
