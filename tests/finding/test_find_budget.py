"""How the time of a run is divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from darts.config import ConfigError, FindBudgetConfig
from darts.finding.budget import MARGIN, SAVE_INTERVAL, RoundTime, Stopwatch, budget_seconds
from darts.finding.decisions import Decisions


@pytest.mark.parametrize(
    ("hours", "minutes", "seconds"), [(None, None, 600), (0.5, None, 1800), (None, 2, 120)]
)
def test_the_budget_has_two_units(
    hours: float | None, minutes: float | None, seconds: float
) -> None:
    assert budget_seconds(FindBudgetConfig(hours, minutes)) == seconds


def test_both_units_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"budget\.hours=1 and budget\.minutes=2 exclude"):
        budget_seconds(FindBudgetConfig(1, 2))


def test_trainings_get_equal_time() -> None:
    costs = {"a": 1.0, "b": 2.0, "c": 5.0}
    epochs = RoundTime(60, max_epochs=1000).divide(costs)
    assert {name: epochs[name] * cost for name, cost in costs.items()} == dict.fromkeys("abc", 20)


def test_a_training_at_its_longest_leaves_its_time_to_the_others() -> None:
    epochs = RoundTime(60, max_epochs=10).divide({"a": 1.0, "b": 2.5, "c": 10.0})
    assert epochs == {"a": 10, "b": 10, "c": 2}  # a and b leave 60 - 10 - 25 seconds


def test_each_training_pays_its_start() -> None:
    assert RoundTime(60, max_epochs=1000, overhead=10).divide({"a": 1.0, "b": 1.0}) == {
        "a": 20,
        "b": 20,
    }


def test_expensive_trainings_are_dropped_but_never_the_first() -> None:
    time = RoundTime(30, max_epochs=100)
    assert time.divide({"a": 1.0, "b": 8.0, "c": 2.0}, min_epochs=5) == {"a": 15, "c": 7}
    assert time.divide({"a": 8.0, "b": 1.0}, min_epochs=20) == {"a": 3}
    assert time.divide({"a": 100.0}, min_epochs=5) == {"a": 1}


def test_trainings_can_be_equally_long_in_epochs_instead() -> None:
    costs = {"a": 1.0, "b": 2.0, "c": 3.0}
    time = RoundTime(66, max_epochs=1000, overhead=2)
    assert time.divide(costs, equal="epochs") == dict.fromkeys("abc", 10)
    assert time.divide(costs, min_epochs=11, equal="epochs") == {"a": 20, "b": 20}  # without c
    assert RoundTime(66, max_epochs=5).divide(costs, equal="epochs") == dict.fromkeys("abc", 5)


@pytest.mark.parametrize(
    ("workers", "count", "epochs"), [(2, 1, 60), (2, 2, 60), (2, 3, 30), (2, 4, 30), (4, 9, 20)]
)
def test_the_last_training_ends_in_time(workers: int, count: int, epochs: int) -> None:
    """A worker cannot share a training with another one."""
    costs = {f"net{number}": 1.0 for number in range(count)}
    time = RoundTime(60, max_epochs=1000, workers=workers)
    assert time.divide(costs) == time.divide(costs, equal="epochs") == dict.fromkeys(costs, epochs)


@pytest.mark.parametrize(
    ("workers", "repeats", "count", "epochs"), [(1, 5, 2, 6), (2, 5, 1, 20), (2, 5, 2, 12)]
)
def test_all_trainings_of_each_network_end_in_time(
    workers: int, repeats: int, count: int, epochs: int
) -> None:
    """A training has 1 second per epoch; 5 trainings on 2 workers take as long as 6."""
    costs = {f"net{number}": float(repeats) for number in range(count)}
    time = RoundTime(60, max_epochs=1000, workers=workers, repeats=repeats)
    assert time.divide(costs) == time.divide(costs, equal="epochs") == dict.fromkeys(costs, epochs)
    trainings = repeats * count
    time = RoundTime(60 + trainings, 1000, overhead=1, workers=1, repeats=repeats)
    assert time.divide(costs) == RoundTime(60, 1000, repeats=repeats).divide(costs)


def test_no_time_leaves_one_epoch() -> None:
    assert RoundTime(0, max_epochs=100).divide({"a": 1.0, "b": 1.0}, min_epochs=3) == {"a": 1}


def test_the_stopwatch_counts_all_resumes(tmp_path: Path) -> None:
    now = 100.0
    decisions = Decisions(tmp_path / "decisions.json")
    stopwatch = Stopwatch(50, decisions, clock=lambda: now)
    now += SAVE_INTERVAL
    stopwatch.save()
    now += 1  # lost by a kill
    assert stopwatch.seconds == SAVE_INTERVAL + 1

    now = 7.0
    resumed = Stopwatch(50, Decisions(tmp_path / "decisions.json"), clock=lambda: now)
    now += 2
    assert resumed.seconds == SAVE_INTERVAL + 2
    assert resumed.left == pytest.approx(MARGIN * 50 - resumed.seconds)
    now += 1000
    assert resumed.left == 0


def test_the_time_before_the_run_directory_exists_counts(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.json")
    stopwatch = Stopwatch(50, decisions, begin=93.0, clock=lambda: 100.0)
    assert stopwatch.seconds == 7
