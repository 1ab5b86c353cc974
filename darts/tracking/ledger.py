"""What each phase of a run has cost, through all its processes.

Costs of different sources are kept apart, since joules of a counter and of an estimate are not the
same thing: their sum is told as a mixture, and nothing should be compared by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from darts.tracking.energy import Energy, EnergyMeter

PHASES = ("training", "validation", "collapse", "discretization", "test")
"""What a run's time goes to; all that is nothing else is training."""

LedgerEntry = dict[str, Any]
"""``phase``, ``source``, ``seconds`` and ``joules``."""


def grams_of_co2(joules: float, gco2_per_kwh: float) -> float:
    """CO2-equivalent of so much electricity, in grams, where a kilowatt-hour causes so many."""
    return joules / 3.6e6 * gco2_per_kwh


class Ledger:
    """Writes a meter's readings to the account of the phase that is under way.

    Args:
        meter: of this process.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter = meter
        self._phase = PHASES[0]
        self._accounts: dict[tuple[str, str], list[float]] = {}  # seconds and joules
        self._seen = Energy(0.0, 0.0, "none")

    def start(self) -> None:
        """Begin to count."""
        self._meter.start()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Within it, costs are those of another phase.

        Raises:
            ValueError: if there is no such phase.
        """
        if name not in PHASES:
            raise ValueError(f"phase={name!r} is unknown; choose from {', '.join(PHASES)}")
        self._charge()
        outer, self._phase = self._phase, name
        try:
            yield
        finally:
            self._charge()
            self._phase = outer

    def entries(self, others: Mapping[str, float] | None = None) -> list[LedgerEntry]:
        """All accounts, in the order of the phases.

        Args:
            others: by phase, joules that other processes have used in the time that this one has
                been counting; they go to accounts of this meter's source.
        """
        self._charge()
        accounts = {name: list(own) for name, own in self._accounts.items()}
        for phase, joules in (others or {}).items():
            if joules:
                accounts.setdefault((phase, self._seen.source), [0.0, 0.0])[1] += joules
        order = {phase: number for number, phase in enumerate(PHASES)}
        return [
            {"phase": phase, "source": source, "seconds": seconds, "joules": joules}
            for (phase, source), (seconds, joules) in sorted(
                accounts.items(), key=lambda account: order[account[0][0]]
            )
        ]

    def joules(self) -> dict[str, float]:
        """By phase, what this process alone has used; 0 for phases that it has not seen."""
        self._charge()
        return {
            phase: sum(own[1] for (name, _), own in self._accounts.items() if name == phase)
            for phase in PHASES
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"entries": self.entries()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the accounts of the run's earlier processes, before ``start``."""
        self._accounts = {
            (entry["phase"], entry["source"]): [entry["seconds"], entry["joules"]]
            for entry in state["entries"]
        }

    def _charge(self) -> None:
        now = self._meter.read()
        account = self._accounts.setdefault((self._phase, now.source), [0.0, 0.0])
        account[0] += now.seconds - self._seen.seconds
        account[1] += now.joules - self._seen.joules
        self._seen = now
        if account == [0.0, 0.0]:
            del self._accounts[self._phase, now.source]


def total_energy(entries: Sequence[Mapping[str, Any]]) -> Energy:
    """The sum of all accounts; the source of several is named as a mixture of them."""
    sources = list(dict.fromkeys(entry["source"] for entry in entries if entry["source"] != "none"))
    return Energy(
        sum(entry["seconds"] for entry in entries),
        sum(entry["joules"] for entry in entries),
        f"mixed: {' + '.join(sources)}" if len(sources) > 1 else "".join(sources) or "none",
    )


def common_source(sources: Iterable[object]) -> str | None:
    """The source of joules that may be compared and added up; None where they may not.

    They may if all are of the same source, and it is no mixture: of two mixtures of the same name
    nobody knows how much of each is in them.
    """
    names = {str(source) for source in sources}
    if len(names) != 1 or next(iter(names)).startswith("mixed"):
        return None
    return names.pop()


def sum_costs(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``joules``, ``joules_source`` and ``gco2e`` of several runs together.

    Args:
        told: what each has told of the three; without a common source there is no sum.
    """
    sources = [row["joules_source"] for row in told]
    if common_source(sources) is None:
        text = " and ".join(sorted(set(map(str, sources)))) or "not measured"
        return {"joules": None, "joules_source": text, "gco2e": None}
    sums = {key: sum(row[key] for row in told) for key in ("joules", "gco2e")}
    return {**sums, "joules_source": sources[0]}


def summary_costs(entries: Sequence[LedgerEntry], gco2_per_kwh: float) -> dict[str, Any]:
    """The sum of a ledger's entries for a summary."""
    energy = total_energy(entries)
    return {
        "seconds": energy.seconds,
        "joules": energy.joules,
        "joules_source": energy.source,
        "gco2e": grams_of_co2(energy.joules, gco2_per_kwh),
    }


def energy_report(entries: Sequence[LedgerEntry], gco2_per_kwh: float) -> dict[str, Any]:
    """A ledger for ``energy.json``."""
    rows = [{**e, "gco2e": grams_of_co2(e["joules"], gco2_per_kwh)} for e in entries]
    return {"gco2_per_kwh": gco2_per_kwh, "phases": rows}
