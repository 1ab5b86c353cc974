"""What a run of ``darts.find`` spent its time on, and what a longer budget would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darts.finding.budget import MARGIN, Stopwatch
from darts.finding.decisions import Decisions
from darts.finding.results import Result
from darts.tracking import format_duration

BEGIN = "begin."
"""Prefix of the decisions that save when a stage began."""


class StageTimes:
    """When the stages began, in seconds since the start of the run.

    Args:
        decisions: Saves the times.
        stopwatch: Measures them.
    """

    def __init__(self, decisions: Decisions, stopwatch: Stopwatch) -> None:
        self._decisions, self._stopwatch = decisions, stopwatch
        self._begins: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """Save that a stage begins now, unless it began before the run was resumed."""
        now = self._stopwatch.seconds
        self._begins[stage] = self._decisions.decide(BEGIN + stage, float, lambda: now)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage, and of the preparation before the first."""
        ends = [*list(self._begins.values())[1:], self._stopwatch.seconds]
        spent = zip(self._begins.items(), ends, strict=True)
        result = {stage: max(end - begin, 0.0) for (stage, begin), end in spent}
        return {"preparation": next(iter(self._begins.values()), 0.0), **result}


def describe_times(seconds: Mapping[str, float]) -> str:
    """Return the times of the stages in one line; stages of less than a second are left out."""
    return ", ".join(f"{s} {format_duration(t)}" for s, t in seconds.items() if t >= 1)


def outlook(
    final: Iterable[Result], max_epochs: int, *, skipped: Iterable[str], workers: int, share: float
) -> str:
    """Return what a longer budget would change.

    Args:
        final: The trainings of the final.
        max_epochs: The longest useful number of epochs of a training.
        skipped: Stages that were skipped for lack of time.
        workers: Number of simultaneous trainings.
        share: Share of a long budget that the final gets.
    """
    final = list(final)
    epochs = max((result.epochs for result in final), default=0)
    without = " and ".join(skipped)
    more = f"; {without} would not be skipped" if without else ""
    if epochs >= max_epochs:
        return (
            "The final had time for the longest useful training. A longer budget would compare "
            f"more networks{more}."
        )
    trainings = [result for result in final for _ in result.summaries]
    needed = sum(max_epochs * result.seconds_per_epoch for result in trainings)
    longest = max((max_epochs * result.seconds_per_epoch for result in final), default=0.0)
    budget = max(needed / max(workers, 1), longest) / share / MARGIN
    return (
        f"With a budget of about {_rounded(budget)}, the networks of the final could train for "
        f"{max_epochs} epochs, the longest useful training, instead of at most {epochs}{more}."
    )


def _rounded(seconds: float) -> str:
    """Return a time in minutes or hours with two significant digits."""
    minutes = seconds / 60
    if minutes < 99.5:
        return f"{minutes:.2g} minutes"
    hours = minutes / 60
    return f"{hours:.2g} hours" if hours < 99.5 else f"{hours:,.0f} hours"
