"""Energy from counters and from estimates, and costs by phase and source."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from darts.config.options import EnergyConfig
from darts.tracking import EnergyMeter, energy, grams_of_co2
from darts.tracking.energy import Energy
from darts.tracking.ledger import (
    PHASES,
    Ledger,
    common_source,
    energy_report,
    sum_costs,
    summary_costs,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture(autouse=True)
def _powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)


def add_domain(powercap: Path, name: str, label: str, microjoules: int, limit: int = 10**7) -> Path:
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
    """It loses no energy either if it cannot be read for a while."""
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 9_000_000, limit=10_000_000)
    meter = EnergyMeter(EnergyConfig(), CPU)
    for text, joules in (("500000", 1.5), ("2500000", 2.0), ("", 0.0), ("4500000", 2.0)):
        file.write_text(text)
        assert meter.read().joules == pytest.approx(joules)


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
    device = SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    return fake


def test_gpu_in_use_is_read_from_its_counter(tmp_path: Path, nvml: FakeNvml) -> None:
    meter = EnergyMeter(EnergyConfig(), GPU)
    nvml.millijoules += 2_500
    total = meter.read()
    assert total.joules == pytest.approx(2.5)
    assert total.source == "nvml"


@pytest.mark.parametrize(("gpu_watts", "watts"), [(100, 100), (None, 400)])
def test_gpu_without_counter_is_estimated_in_addition_to_the_processor(
    nvml: FakeNvml,
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    gpu_watts: float | None,
    watts: int,
) -> None:
    """By default, it has its rated power."""
    nvml.supported = False
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    meter = EnergyMeter(EnergyConfig(gpu_watts=gpu_watts), GPU)
    clock.wall, clock.own = clock.wall + 2, clock.own + 1
    total = meter.read()
    assert total.joules == pytest.approx(2 * watts + 10)
    assert total.source == f"estimate: 10 W per busy core and estimate: {watts} W per GPU"


def test_a_gpu_without_the_package_of_its_counter_warns(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import fails
    with pytest.warns(UserWarning, match="run pip install nvidia-ml-py"):
        EnergyMeter(EnergyConfig(gpu_watts=100), GPU)


@dataclass
class Meter:
    """A meter of what a test uses."""

    source: str = "rapl"
    seconds: float = 0.0
    joules: float = 0.0

    def read(self) -> Energy:
        used = Energy(self.seconds, self.joules, self.source)
        self.seconds = self.joules = 0.0
        return used

    def use(self, seconds: float, joules: float) -> None:
        self.seconds, self.joules = self.seconds + seconds, self.joules + joules


def start_ledger(
    source: str = "rapl", entries: Any = (), total: Callable[[float], float] = float
) -> tuple[Any, Ledger]:
    """Return a meter and a ledger that reads it; ``entries`` are of an earlier process."""
    meter: Any = Meter(source)
    ledger = Ledger(meter, total)
    ledger.restore(entries)
    return meter, ledger


def test_costs_belong_to_the_current_phase_also_if_it_raises() -> None:
    meter, ledger = start_ledger()
    meter.use(10, 100)
    with ledger.phase("validation"):
        meter.use(2, 30)
        with ledger.phase("test"):
            meter.use(1, 5)
        meter.use(2, 30)
    meter.use(10, 100)
    assert ledger.entries() == [
        {"phase": "training", "source": "rapl", "seconds": 20, "joules": 200},
        {"phase": "validation", "source": "rapl", "seconds": 4, "joules": 60},
        {"phase": "test", "source": "rapl", "seconds": 1, "joules": 5},
    ]
    with pytest.raises(KeyError), ledger.phase("validation"):  # noqa: PT012
        meter.use(1, 7)
        raise KeyError
    meter.use(1, 1)
    assert [entry["joules"] for entry in ledger.entries()] == [201, 67, 5]


uses = st.lists(
    st.tuples(
        st.sampled_from(PHASES),
        st.sampled_from(("rapl", "nvml")),
        st.integers(0, 1000),
        st.integers(0, 1000),
    ),
    max_size=12,
)


@given(uses)
def test_sum_contains_each_use_exactly_once(used: list[tuple[str, str, int, int]]) -> None:
    """Each use happens in a new process that continues from the previous state."""
    entries: list[Any] = []
    for phase, source, seconds, joules in used:
        meter, ledger = start_ledger(source, json.loads(json.dumps(entries)))
        with ledger.phase(phase):
            meter.use(seconds, joules)
        entries = [*ledger.entries()]
    for phase in PHASES:
        for source in ("rapl", "nvml"):
            wanted = sum(j for p, s, _, j in used if (p, s) == (phase, source))
            found = [e for e in entries if (e["phase"], e["source"]) == (phase, source)]
            assert sum(entry["joules"] for entry in found) == wanted
            assert len(found) <= 1
    whole = summary_costs(entries, 480)
    assert whole["seconds"] == sum(seconds for _, _, seconds, _ in used)
    assert whole["joules"] == sum(joules for *_, joules in used)
    sources = {source for _, source, seconds, joules in used if seconds or joules}
    assert whole["joules_source"].startswith("mixed: ") == (len(sources) > 1)
    assert all(source in whole["joules_source"] for source in sources)


def test_emissions_are_grams_per_kilowatt_hour() -> None:
    assert grams_of_co2(3.6e6, 480) == pytest.approx(480)  # 3.6e6 J are 1 kWh
    meter, ledger = start_ledger("estimate: 10 W per busy core")
    meter.use(100, 7.2e6)
    with ledger.phase("test"):
        meter.use(1, 3.6e6)
    assert summary_costs(ledger.entries(), 100) == {
        "seconds": 101,
        "joules": 10.8e6,
        "joules_source": "estimate: 10 W per busy core",
        "gco2e": pytest.approx(300),
    }
    report = energy_report(ledger.entries(), 100)
    assert report["gco2_per_kwh"] == 100
    assert [row["gco2e"] for row in report["phases"]] == [pytest.approx(200), pytest.approx(100)]


@pytest.mark.parametrize(
    ("sources", "common"),
    [
        (["nvml", "nvml"], "nvml"),
        (["nvml", "rapl"], None),
        (["mixed: nvml + rapl", "mixed: nvml + rapl"], None),
        ([], None),
    ],
)
def test_joules_are_summed_with_a_common_source(sources: list[str], common: str | None) -> None:
    assert common_source(sources) == common
    costs = [{"joules": 2.0, "gco2e": 0.5, "joules_source": source} for source in sources]
    found = sum_costs(costs)
    assert found["joules"] == (None if common is None else 4.0)
    assert found["gco2e"] == (None if common is None else 1.0)
    assert all(source in found["joules_source"] for source in sources)


def plus(*others: float) -> Callable[[float], float]:
    """Return a sum over ranks; the others have used these joules, in the order of the phases."""
    left = iter(others)
    return lambda own: own + next(left)


def test_joules_of_other_ranks_get_the_current_source() -> None:
    """A run with two ranks is resumed twice; the source changes from rapl to nvml and back."""
    ours = [("rapl", 10.0), ("nvml", 20.0), ("rapl", 30.0)]
    entries: list[Any] = []
    for source, joules in ours:
        meter, ledger = start_ledger(source, entries, plus(100.0, 0.0, 0.0, 0.0, 5.0))
        meter.use(1, joules)
        entries = [*ledger.entries()]
    found = {(e["phase"], e["source"]): (e["seconds"], e["joules"]) for e in entries}
    assert found == {
        ("training", "rapl"): (2, 10 + 30 + 200),
        ("training", "nvml"): (1, 20 + 100),
        ("test", "rapl"): (0, 10),  # this rank has used nothing here
        ("test", "nvml"): (0, 5),
    }
    assert [e["phase"] for e in entries] == ["training"] * 2 + ["test"] * 2


def test_joules_of_other_ranks_are_not_stored() -> None:
    meter, ledger = start_ledger(total=lambda own: own + 7.0)
    meter.use(1, 10)
    for _ in range(2):
        assert ledger.entries()[0]["joules"] == 17
