"""The budget of a run and its stopwatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from darts.config import ConfigError, FindBudgetConfig
from darts.finding.budget import Stopwatch, budget_seconds
from darts.finding.decisions import Decisions


@pytest.mark.parametrize(
    ("hours", "minutes", "seconds"), [(None, None, 600), (0.5, None, 1800), (None, 2, 120)]
)
def test_the_budget_has_two_units(
    hours: float | None, minutes: float | None, seconds: float
) -> None:
    assert budget_seconds(FindBudgetConfig(hours, minutes)) == seconds


def test_both_units_are_mutually_exclusive() -> None:
    with pytest.raises(ConfigError, match=r"budget\.hours=1 and budget\.minutes=2 are mutually"):
        budget_seconds(FindBudgetConfig(1, 2))


def test_the_stopwatch_counts_all_resumes(tmp_path: Path) -> None:
    now = 100.0
    decisions = Decisions(tmp_path / "decisions.json")
    stopwatch = Stopwatch(50, decisions, clock=lambda: now)
    now += 5
    stopwatch.save()
    now += 1  # lost by a kill
    assert stopwatch.seconds == 5 + 1

    now = 7.0
    resumed = Stopwatch(50, Decisions(tmp_path / "decisions.json"), clock=lambda: now)
    now += 2
    assert resumed.seconds == 5 + 2
    assert resumed.until(0.5) == 25 - resumed.seconds
    now += 1000
    assert resumed.until(1) < 0


def test_the_time_before_the_run_directory_exists_counts(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.json")
    stopwatch = Stopwatch(50, decisions, begin=93.0, clock=lambda: 100.0)
    assert stopwatch.seconds == 7
