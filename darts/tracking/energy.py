"""How much energy a run has used, measured where the machine can measure it, else estimated.

The source travels with every number, since a reading of a counter and a guess from processor time
must not be compared as equals. A counter covers the whole device: on a shared machine it includes
what others use. "nvml" is the GPU alone, "rapl" the processors and their memory.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Energy:
    """A cost: wall-clock seconds, joules, and where the joules come from."""

    seconds: float
    joules: float
    source: str


@dataclass
class _Counter:
    """A rising reading in joules, which starts again from 0 after `wraps_at` (None: never)."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None
    last: float = 0.0

    def advance(self) -> float:
        """Joules since the last call; none if the counter cannot be read at the moment."""
        try:
            now = self.read()
        except (OSError, ValueError):
            return 0.0  # a lost reading must not end a search that has run for days
        gained = now - self.last
        if gained < 0:
            gained = gained + self.wraps_at if self.wraps_at is not None else now
        self.last = now
        return gained


def _processor_seconds() -> float:
    """Of this process, and of its children that have ended, whose clock ticks a hundredth."""
    return time.process_time() + sum(os.times()[2:4])


def is_shared_counter(source: str, processes: int, gpus: int) -> bool:
    """Whether what a counter says of one of several processes includes what the others use.

    Args:
        source: of the joules.
        processes: at the same time on a machine.
        gpus: over which they are spread evenly.
    """
    per_gpu, per_machine = "nvml" in source, "rapl" in source
    return (per_gpu and processes > max(1, gpus)) or (per_machine and processes > 1)


class EnergyMeter:
    """Seconds and joules of this process since ``start``.

    RAPL counters wrap around, at full load within the hour: `read` more often than that, once an
    epoch say.

    Args:
        watts_per_core: power of one busy core, for the estimate from processor seconds (which
            include child processes once they have ended).
        gpu_watts: power of a GPU in use that has no readable counter, for its wall-clock seconds.
        device: where the run computes; by default a GPU counts if CUDA is in use already.
        powercap: folder of the RAPL counters.
        processors: whether to read the RAPL counters, which count a whole machine: of several
            processes on a machine one only should.

    Raises:
        ValueError: if a power is negative.
    """

    def __init__(
        self,
        *,
        watts_per_core: float = 10.0,
        gpu_watts: float = 250.0,
        device: torch.device | str | None = None,
        powercap: Path = POWERCAP,
        processors: bool = True,
    ) -> None:
        for name, value in (("watts_per_core", watts_per_core), ("gpu_watts", gpu_watts)):
            if not value >= 0:
                raise ValueError(f"{name}={value} must not be negative")
        self._watts_per_core, self._gpu_watts = float(watts_per_core), float(gpu_watts)
        self._seconds = self._joules = 0.0
        self._device, self._powercap = device, powercap
        self._processors = processors
        self._counters: list[_Counter] = []
        self._since: float | None = None

    def start(self) -> None:
        """Begin to count, on the best counters that the machine offers."""
        self._counters = self._find_counters()
        for counter in self._counters:
            counter.last = counter.read()
        self._since = time.monotonic()

    def read(self) -> Energy:
        """What has been used since ``start``; nothing before it."""
        if self._since is not None:
            now = time.monotonic()
            self._seconds += now - self._since
            self._since = now
            self._joules += sum(counter.advance() for counter in self._counters)
        # Counters of different devices that run at once.
        source = " and ".join(dict.fromkeys(counter.name for counter in self._counters))
        return Energy(self._seconds, self._joules, source or "none")

    def _find_counters(self) -> list[_Counter]:
        on_gpu = _uses_cuda(self._device)
        if on_gpu and (gpu := _nvml_counter(self._device)) is not None:
            return [gpu]
        counters = _rapl_counters(self._powercap)
        if counters and not self._processors:
            counters = []
        elif not counters:
            watts = self._watts_per_core
            name = f"estimate: {watts:g} W per busy core"
            counters = [_Counter(name, lambda: watts * _processor_seconds())]
        if on_gpu:
            name = f"estimate: {self._gpu_watts:g} W per GPU"
            counters.append(_Counter(name, lambda: self._gpu_watts * time.monotonic()))
        return counters


def _uses_cuda(device: torch.device | str | None) -> bool:
    if device is None:
        return torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.device(device).type == "cuda"


def _nvml_counter(device: torch.device | str | None) -> _Counter | None:
    """The energy counter of the GPU in use, or None without NVML or on a GPU too old for it."""
    try:
        import pynvml
    except ImportError:
        return None
    index = torch.device(device).index if device is not None else None
    try:
        # By its identity: NVML numbers all GPUs, CUDA only those in CUDA_VISIBLE_DEVICES.
        properties = torch.cuda.get_device_properties(
            torch.cuda.current_device() if index is None else index
        )
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError, RuntimeError):
        return None

    def read() -> float:
        try:
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3  # from millijoules
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error

    return _Counter("nvml", read)


def _rapl_counters(powercap: Path) -> list[_Counter]:
    """One counter for each processor package and each memory domain that may be read."""
    counters = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            # Cores and graphics are parts of the package, and "psys" contains it: counting them
            # too would count the same joules twice. Memory is a domain of its own.
            name = (folder / "name").read_text().strip()
            if not re.fullmatch(r"package-\d+|package|dram", name):
                continue
            file = folder / "energy_uj"
            _joules_in(file)
            limit = int((folder / "max_energy_range_uj").read_text()) / 1e6
        except (OSError, ValueError):  # root alone may read the counters on most systems
            continue
        counters.append(_Counter("rapl", partial(_joules_in, file), limit))
    return counters


def _joules_in(file: Path) -> float:
    return int(file.read_text()) / 1e6  # from microjoules
