"""The race of ``darts.find`` on the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from darts.judging.pareto import has_number
from darts.plotting.race import draw_race
from darts.reading import JsonObject
from darts.reporting.record import RunRecord
from darts.reporting.rendering import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def race_candidates(record: RunRecord) -> Sequence[JsonObject]:
    """Return the candidates: of candidates.csv, or of race.jsonl for a run that was killed."""
    if record.candidates:
        return record.candidates
    newest = {row["candidate"]: row for row in record.race}
    return [
        {
            "candidate": name,
            "epochs": row["epochs"],
            f"valid_{record.metric}": row["score"],
            "seconds": row["seconds"],
        }
        for name, row in newest.items()
    ]


def race_figure(record: RunRecord) -> Figure:
    """Draw the race, which must have a slice."""
    baselines = {
        row.get("candidate", "") for row in record.candidates if row.get("origin") == "baseline"
    }
    return draw_race(record.race, record.metric, winner=_winner(record), baselines=baselines)


def race_times(record: RunRecord) -> list[JsonObject]:
    """Return the training times of winner or leader, of all others, and of the final run."""
    winner = _winner(record)
    leader = winner or (record.race[-1]["leader"] if record.race else None)
    candidates = race_candidates(record)
    seconds = [(row["seconds"] if has_number(row, "seconds") else 0.0) for row in candidates]
    is_first = [row.get("candidate") == leader for row in candidates]
    first = sum(s for s, own in zip(seconds, is_first, strict=True) if own)
    others = is_first.count(False)
    times = {
        f"{'leader' if winner is None else 'winner'} {leader}": first,
        f"{others} other candidate{'' if others == 1 else 's'}": sum(seconds) - first,
    }
    if winner is not None and record.summary.get("final_epochs") is not None:
        total = record.summary.get("winner_seconds") or 0.0
        times["final run of the winner"] = max(total - first, 0.0)
    total = sum(times.values())
    return [
        {"run": name, "seconds": time, "share": Cell(f"{100 * time / total:.0f} %", time)}
        for name, time in times.items()
        if total > 0
    ]


def _winner(record: RunRecord) -> str | None:
    """Return the name of the candidate that is the result; None if the run is not complete."""
    keys = ("genotype", "family", "setting")
    if any(key not in record.summary for key in keys):
        return None
    return next(
        (
            row.get("candidate")
            for row in record.candidates
            if all(row.get(key) == record.summary[key] for key in keys)
        ),
        None,
    )
