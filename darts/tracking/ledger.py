"""Time and energy that each phase of a run has used.

A ledger covers all processes of a run: those before a resume, and the other ranks. It keeps costs
of different sources apart, because joules from a counter and estimated joules are not comparable.
The source of a sum over several sources is "mixed: ...", and such a sum must not be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, TypeAlias, TypedDict

import msgspec

from darts.reading import JsonObject
from darts.tracking.energy import EnergyMeter
from darts.typed_values import Name

# Phases of a run, see docs/cost.md. Whatever belongs to no other phase counts as training.
PHASES = ("training", "validation", "collapse", "discretization", "test")


# Seconds, joules or grams, whose sums stay finite.
Cost: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class LedgerEntry(TypedDict):
    """Cost of one phase, measured by one source."""

    phase: Name
    source: Name  # of the joules
    seconds: Cost  # wall-clock time
    joules: Cost


class PhaseCost(LedgerEntry):
    """A ledger entry with its emissions, as in ``energy.json``."""

    gco2e: Cost  # grams of CO2-equivalent


class CostSummary(TypedDict):
    """Cost of a run, as in ``summary.json``."""

    seconds: float
    joules: float
    joules_source: str
    gco2e: float


def grams_of_co2(joules: float, gco2_per_kwh: float) -> float:
    """Convert joules to grams of CO2-equivalent, given the grams per kilowatt-hour."""
    return joules / 3.6e6 * gco2_per_kwh


class Ledger:
    """Record of the costs of a run by phase and source.

    It assigns what the energy meter of this process measures to the current phase, which is
    training unless ``phase`` sets another one. ``total`` returns the sum of a number over the
    ranks of the run; all ranks must call the methods that return costs.
    """

    def __init__(self, meter: EnergyMeter, total: Callable[[float], float]) -> None:
        self._meter, self._total = meter, total
        self._phase, self._source = PHASES[0], "none"
        self._accounts: dict[tuple[str, str], list[float]] = {}  # (phase, source): seconds, joules

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Assign the costs of a ``with`` block to one of ``PHASES``. Blocks may be nested."""
        self._charge()
        outer, self._phase = self._phase, name
        try:
            yield
        finally:
            self._charge()
            self._phase = outer

    def entries(self) -> list[LedgerEntry]:
        """Return all entries in the order of the phases.

        They include the joules that the other ranks have used since they started, under the current
        source of this rank. If this is not rank 0, costs before a resume are missing.
        """
        self._charge()
        entries: list[LedgerEntry] = []
        for phase in PHASES:
            own = {source: c for (name, source), c in self._accounts.items() if name == phase}
            joules = sum(cost[1] for cost in own.values())
            if others := self._total(joules) - joules:
                seconds, before = own.get(self._source, (0.0, 0.0))
                own[self._source] = [seconds, before + others]
            entries += [
                {"phase": phase, "source": source, "seconds": seconds, "joules": joules}
                for source, (seconds, joules) in own.items()
            ]
        return entries

    def restore(self, entries: Iterable[LedgerEntry]) -> None:
        """Replace all entries by the entries of a checkpoint."""
        self._accounts = {
            (saved["phase"], saved["source"]): [saved["seconds"], saved["joules"]]
            for saved in entries
        }

    def _charge(self) -> None:
        """Assign what the meter has measured since the last call to the current phase."""
        used = self._meter.read()
        self._source = used.source
        if used.seconds or used.joules:
            account = self._accounts.setdefault((self._phase, used.source), [0.0, 0.0])
            account[0] += used.seconds
            account[1] += used.joules


def sum_phases(phases: Sequence[PhaseCost]) -> list[PhaseCost]:
    """Add up the costs of all phases, separately for each source of the joules."""
    sums: list[PhaseCost] = []
    for source in dict.fromkeys(phase["source"] for phase in phases):
        costs = [phase for phase in phases if phase["source"] == source]
        sums.append(
            {
                "phase": "all phases",
                "source": source,
                "seconds": math.fsum(cost["seconds"] for cost in costs),
                "joules": math.fsum(cost["joules"] for cost in costs),
                "gco2e": math.fsum(cost["gco2e"] for cost in costs),
            }
        )
    return sums


def common_source(sources: Iterable[object]) -> str | None:
    """Return the common source of several numbers of joules, or None if there is none.

    Only joules with a common source may be compared or added up. A mixed source is never common:
    two mixed sources of the same name may contain different shares of their sources.
    """
    names = {str(source) for source in sources}
    if len(names) != 1 or next(iter(names)).startswith("mixed"):
        return None
    return names.pop()


def sum_costs(costs: Sequence[JsonObject]) -> JsonObject:
    """Add up ``joules`` and ``gco2e`` of rows that have the keys of ``CostSummary``.

    The result has the keys ``joules``, ``joules_source`` and ``gco2e``. Both sums are None if the
    joules have no common source.
    """
    sources = [row["joules_source"] for row in costs]
    if common_source(sources) is None:
        text = " and ".join(sorted(set(map(str, sources)))) or "not measured"
        return {"joules": None, "joules_source": text, "gco2e": None}
    sums = {key: sum(row[key] for row in costs) for key in ("joules", "gco2e")}
    return {**sums, "joules_source": sources[0]}


def summary_costs(entries: Sequence[LedgerEntry], gco2_per_kwh: float) -> CostSummary:
    """Add up ledger entries for ``summary.json``; ``gco2_per_kwh`` is as in ``grams_of_co2``.

    If the entries have several sources, the source of the sum is ``mixed: a + b``.
    """
    sources = list(dict.fromkeys(entry["source"] for entry in entries if entry["source"] != "none"))
    source = " + ".join(sources)
    joules = sum(entry["joules"] for entry in entries)
    return {
        "seconds": sum(entry["seconds"] for entry in entries),
        "joules": joules,
        "joules_source": f"mixed: {source}" if len(sources) > 1 else source or "none",
        "gco2e": grams_of_co2(joules, gco2_per_kwh),
    }


def energy_report(entries: Sequence[LedgerEntry], gco2_per_kwh: float) -> JsonObject:
    """Return the content of ``energy.json``: the ledger entries with their emissions."""
    phases: list[PhaseCost] = [
        {**entry, "gco2e": grams_of_co2(entry["joules"], gco2_per_kwh)} for entry in entries
    ]
    return {"gco2_per_kwh": gco2_per_kwh, "phases": phases}
