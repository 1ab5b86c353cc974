"""Energy that a run uses: read from hardware counters if available, otherwise estimated.

Every reading names its source, because readings of counters and estimates from processor time are
not comparable. A counter covers a whole device, so on a shared machine it includes the energy of
other processes. The source "nvml" is the counter of the GPU alone. The source "rapl" (Running
Average Power Limit) is the counters of the processors and their memory. See docs/cost.md.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from darts.config.options import EnergyConfig

POWERCAP = Path("/sys/class/powercap")
_UNKNOWN_WATTS = 250.0  # assumed power of a GPU whose rated power is unknown
# Rated power in watts, from the data sheets, by a part of the name of the card; the first entry
# that fits counts.
_RATED_WATTS = {
    "H200": 700, "H100 PCIe": 350, "H100": 700, "A100-PCIE": 250, "A100 PCIe": 300, "A100": 400,
    "V100": 300, "P100": 250, "L40S": 350, "L40": 300, "L4": 72, "A40": 300, "A30": 165,
    "A10": 150, "T4": 70, "RTX 4090": 450, "RTX 4080": 320, "RTX 4070": 200, "RTX 3090": 350,
    "RTX 3080": 320, "RTX 3070": 220, "RTX 3060": 170, "RTX 2080 Ti": 250, "GTX 1080 Ti": 250,
}  # fmt: skip


@dataclass(frozen=True)
class Energy:
    """Joules, their source, and the time in which they were used."""

    seconds: float  # wall-clock time
    joules: float
    source: str


@dataclass
class _Counter:
    """A counter of joules that only increases, but may restart from 0."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None  # joules at which it restarts
    last: float = 0.0

    def advance(self) -> float:
        """Return the joules since the last successful call, or 0 if the reading fails."""
        try:
            now = self.read()
        except (OSError, ValueError):
            return 0.0  # a failed reading must not end a run that may have taken days
        gained = now - self.last
        if gained < 0:
            gained = gained + self.wraps_at if self.wraps_at is not None else now
        self.last = now
        return gained


def _processor_seconds() -> float:
    """Return the processor seconds of this process and of its child processes that have ended."""
    # os.times() resolves only 10 ms, which is too coarse for this process in short trials.
    return time.process_time() + sum(os.times()[2:4])


def is_shared_counter(source: str, processes: int, gpus: int) -> bool:
    """Return whether several processes on one machine share the energy counter of a source.

    Each of them then reads the energy of all of them. The processes are distributed evenly over the
    GPUs.
    """
    per_gpu, per_machine = "nvml" in source, "rapl" in source
    return (per_gpu and processes > max(1, gpus)) or (per_machine and processes > 1)


class EnergyMeter:
    """Meter of the wall-clock seconds and the joules that this process uses from now on.

    The first available source of docs/cost.md is used. RAPL counters wrap around, at full load
    within an hour. Call ``read`` more often than that, for example once per epoch; otherwise joules
    are lost.

    Args:
        config: Assumed power for the estimates.
        device: Device of the run.
        read_rapl: Whether to read the RAPL counters where the machine has them. They cover the
            whole machine, so only one of several processes on a machine should read them.
    """

    def __init__(
        self, config: EnergyConfig, device: torch.device, *, read_rapl: bool = True
    ) -> None:
        self._config, self._device, self._read_rapl = config, device, read_rapl
        self._counters = self._find_counters()
        for counter in self._counters:
            counter.last = counter.read()
        self._since = time.monotonic()

    def read(self) -> Energy:
        """Return the energy used since the last call, or since the start of the meter."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        joules = sum(counter.advance() for counter in self._counters)
        # Several counters measure different devices, so their sum counts no joule twice.
        source = " and ".join(dict.fromkeys(counter.name for counter in self._counters))
        return Energy(seconds, joules, source or "none")

    def _find_counters(self) -> list[_Counter]:
        on_gpu = self._device.type == "cuda"
        if on_gpu and (gpu := _nvml_counter(self._device)) is not None:
            return [gpu]
        counters = _rapl_counters()
        if counters and not self._read_rapl:
            counters = []
        elif not counters:
            watts = self._config.watts_per_core
            name = f"estimate: {watts:g} W per busy core"
            counters = [_Counter(name, lambda: watts * _processor_seconds())]
        if on_gpu:
            power = self._config.gpu_watts
            rate = _rated_watts(self._device) if power is None else power
            name = f"estimate: {rate:g} W per GPU"
            counters.append(_Counter(name, lambda: rate * time.monotonic()))
        return counters


def _rated_watts(device: torch.device) -> float:
    card = torch.cuda.get_device_name(device)
    return next((w for part, w in _RATED_WATTS.items() if part in card), _UNKNOWN_WATTS)


def _nvml_counter(device: torch.device) -> _Counter | None:
    """Return the energy counter of the GPU in use, or None if it cannot be read.

    NVML (NVIDIA Management Library) is read through the package pynvml.
    """
    try:
        import pynvml
    except ImportError:
        warnings.warn(
            "the energy of the GPU is an estimate, because its counter cannot be read; run "
            "pip install nvidia-ml-py",
            stacklevel=2,
        )
        return None
    try:
        # A UUID finds the GPU, because its index differs: NVML numbers all GPUs of the machine,
        # CUDA only those in CUDA_VISIBLE_DEVICES.
        properties = torch.cuda.get_device_properties(device)
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError, RuntimeError):
        return None

    def read() -> float:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3  # from mJ
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error

    return _Counter("nvml", read)


def _rapl_counters() -> list[_Counter]:
    """Return a counter for each readable processor package and memory domain."""
    counters = []
    for folder in sorted(POWERCAP.glob("intel-rapl:*")):
        try:
            # Only processor packages and memory are read. A package includes the domains of its
            # cores and graphics, and the domain "psys" includes the packages; reading these too
            # would count the same joules twice.
            name = (folder / "name").read_text().strip()
            if not re.fullmatch(r"package-\d+|package|dram", name):
                continue
            file = folder / "energy_uj"
            _joules_in(file)
            limit = int((folder / "max_energy_range_uj").read_text()) / 1e6
        except (OSError, ValueError):  # on most systems only root may read the counters
            continue
        counters.append(_Counter("rapl", partial(_joules_in, file), limit))
    return counters


def _joules_in(file: Path) -> float:
    return int(file.read_text()) / 1e6  # from microjoules
