"""Energy from counters, including wraparound, and from estimates."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from darts.config.options import EnergyConfig
from darts.tracking import EnergyMeter, energy

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture(autouse=True)
def _powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)


def add_domain(
    powercap: Path, name: str, label: str, microjoules: int, limit: int = 10_000_000
) -> Path:
    """Write the files of a RAPL domain and return the file of its counter."""
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    return folder / "energy_uj"


class Time:
    """Wall-clock and processor time that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.own, self.children = 100.0, 5.0, 1.0
        monkeypatch.setattr(time, "monotonic", lambda: self.wall)
        monkeypatch.setattr(time, "process_time", lambda: self.own)
        # Entries 0 and 1 are the time of this process, which must not be counted twice.
        monkeypatch.setattr(os, "times", lambda: (self.own, 0.5, self.children, 0.25, self.wall))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def test_rapl_sums_packages_and_memory_without_double_counting(tmp_path: Path, clock: Time) -> None:
    files = [
        add_domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        add_domain(tmp_path, "intel-rapl:1", "package-1", 2_000_000),
        add_domain(tmp_path, "intel-rapl:0:1", "dram", 0),
        add_domain(tmp_path, "intel-rapl:0:0", "core", 0),
        add_domain(tmp_path, "intel-rapl:2", "psys", 0),
    ]
    meter = EnergyMeter(EnergyConfig(), CPU)
    for file in files:
        file.write_text(str(int(file.read_text()) + 3_000_000))
    clock.wall += 4
    total = meter.read()
    assert total.joules == pytest.approx(9.0)
    assert total.seconds == pytest.approx(4.0)
    assert total.source == "rapl"


def test_meter_can_skip_the_counters_of_the_machine(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    meters = [EnergyMeter(EnergyConfig(), CPU, read_rapl=first) for first in (True, False)]
    file.write_text("3000000")
    assert [meter.read().joules for meter in meters] == [pytest.approx(2.0), 0.0]
    file.unlink()  # without counters, each process estimates its own energy
    meter = EnergyMeter(EnergyConfig(), CPU, read_rapl=False)
    assert meter.read().source == "estimate: 10 W per busy core"


def test_counter_continues_after_wraparound(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 9_000_000, limit=10_000_000)
    meter = EnergyMeter(EnergyConfig(), CPU)
    file.write_text("500000")
    assert meter.read().joules == pytest.approx(1.5)
    file.write_text("2500000")
    assert meter.read().joules == pytest.approx(2.0)


def test_temporary_read_failure_loses_no_energy(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    meter = EnergyMeter(EnergyConfig(), CPU)
    file.write_text("")
    assert meter.read().joules == 0.0
    file.write_text("3000000")
    assert meter.read().joules == pytest.approx(2.0)


def test_estimate_uses_processor_time_of_process_and_children(tmp_path: Path, clock: Time) -> None:
    meter = EnergyMeter(EnergyConfig(watts_per_core=12.5), CPU)
    clock.wall, clock.own, clock.children = clock.wall + 10, clock.own + 6, clock.children + 2
    total = meter.read()
    assert total.joules == pytest.approx(8 * 12.5)
    assert total.seconds == pytest.approx(10)
    assert total.source == "estimate: 12.5 W per busy core"


class FakeNvml(SimpleNamespace):
    class NVMLError(Exception):
        pass

    millijoules = 5_000
    supported = True

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        assert uuid == "GPU-1234"
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if not self.supported:
            raise self.NVMLError("not supported")
        return self.millijoules


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="1234")
    )
    return fake


def test_gpu_in_use_is_read_from_its_counter(tmp_path: Path, nvml: FakeNvml) -> None:
    meter = EnergyMeter(EnergyConfig(), GPU)
    nvml.millijoules += 2_500
    total = meter.read()
    assert total.joules == pytest.approx(2.5)
    assert total.source == "nvml"


def test_gpu_without_counter_is_estimated_in_addition_to_the_processor(
    tmp_path: Path, nvml: FakeNvml, clock: Time
) -> None:
    nvml.supported = False
    meter = EnergyMeter(EnergyConfig(gpu_watts=100), GPU)
    clock.wall, clock.own = clock.wall + 2, clock.own + 1
    total = meter.read()
    assert total.joules == pytest.approx(200 + 10)
    assert total.source == "estimate: 10 W per busy core and estimate: 100 W per GPU"


def test_a_gpu_is_estimated_by_its_rated_power(
    tmp_path: Path, nvml: FakeNvml, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.supported = False
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    meter = EnergyMeter(EnergyConfig(), GPU)
    clock.wall += 2
    total = meter.read()
    assert total.joules == pytest.approx(800)
    assert "estimate: 400 W per GPU" in total.source


def test_a_gpu_without_the_package_of_its_counter_warns(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import fails
    with pytest.warns(UserWarning, match="run pip install nvidia-ml-py"):
        EnergyMeter(EnergyConfig(gpu_watts=100), GPU)
