"""Where and in which precision a run computes, and what makes it repeatable."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

PRECISIONS = ("fp32", "bf16", "fp16")
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes CUDA, else MPS, else the CPU.

    Raises:
        ValueError: when the name is none of PyTorch's, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    choices = "choose from auto, cpu, cuda, cuda:N, mps"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name!r} is unknown; {choices}") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={name!r} is not supported; {choices}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={name!r}: PyTorch sees {torch.cuda.device_count()} CUDA devices; {choices}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={name!r}: PyTorch sees no such device; {choices}")
    return device


def visible_gpus() -> list[str]:
    """The CUDA devices of this process, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]


def gpu_in_turn(number: int) -> dict[str, str]:
    """What the environment of one of several processes says, which take a machine's GPUs in turn.

    Args:
        number: of the process, from 0.
    """
    gpus = visible_gpus()
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else {}


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ValueError when the device does not offer the precision."""
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision=fp16 needs a GPU; on the CPU choose fp32 or bf16")


def check_compiler(device: torch.device, *, ranks: int) -> None:
    """Raise ValueError when ``compile=true`` cannot work."""
    if ranks > 1:
        raise ValueError("compile=true works in a single process; leave it out under torchrun")
    if device.type == "mps":
        raise ValueError("compile=true needs a CPU or a CUDA GPU; leave it out on mps")
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "cl"]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise ValueError(
            f"compile=true on the CPU needs a C++ compiler, and none of {', '.join(compilers)} is "
            "here; leave it out, or set CXX"
        )


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """The context in which forward passes run; does nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_AUTOCAST[precision])


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses so that fp16 gradients do not underflow; passes through otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def seed_everything(seed: int) -> None:
    """Seed all global generators; data order has generators of its own (``darts.data``)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: the allocator's on a GPU, of the whole process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    import resource
    import sys
    from pathlib import Path

    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would begin with the peak of the process that started this one
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
