"""Costs by phase and source, and their sums over the processes of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darts.tracking import grams_of_co2
from darts.tracking.energy import Energy
from darts.tracking.ledger import (
    PHASES,
    Ledger,
    common_source,
    energy_report,
    sum_costs,
    summary_costs,
)


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


def test_costs_belong_to_the_current_phase() -> None:
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


def test_costs_of_a_block_that_raises_belong_to_its_phase() -> None:
    meter, ledger = start_ledger()

    def fail() -> None:
        with ledger.phase("validation"):
            meter.use(1, 7)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    meter.use(1, 1)
    assert [entry["joules"] for entry in ledger.entries()] == [1, 7]


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
def test_joules_are_summed_only_with_a_common_source(
    sources: list[str], common: str | None
) -> None:
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
