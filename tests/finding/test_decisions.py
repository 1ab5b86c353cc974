"""Decisions are made once and saved before they are used; the stopwatch counts all resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darts.config import FindBudgetConfig
from darts.finding.budget import Stopwatch, budget_seconds
from darts.finding.decisions import Decisions
from darts.reading import FileError


def test_a_decision_is_made_once(tmp_path: Path) -> None:
    file, calls = tmp_path / "decisions.json", iter(range(10))
    decisions = Decisions(file)
    assert decisions.decide("a", int, lambda: next(calls)) == 0
    assert json.loads(file.read_text())["decisions"] == {"a": 0}
    assert decisions.decide("a", int, lambda: next(calls)) == 0
    assert Decisions(file).decide("a", int, lambda: next(calls)) == 0
    assert Decisions(file).decide("b", dict[str, int], lambda: {"x": next(calls)}) == {"x": 1}


def test_a_changing_value_replaces_the_earlier_one(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.json")
    decisions.record("seconds", 1.0)
    decisions.record("seconds", 2.5)
    again = Decisions(tmp_path / "decisions.json")
    assert again.decide("seconds", float, lambda: 0.0) == 2.5


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "decisions"), ("[]", "decisions"), ("{", "decisions"), (None, r"json is damaged")],
)
def test_a_damaged_or_changed_file_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "decisions.json"
    Decisions(file).record("a", 17)
    changed = file.read_text().replace("17", "18")
    file.write_text(changed if content is None else content, encoding="utf-8")
    with pytest.raises(FileError, match=message):
        Decisions(file)


@pytest.mark.parametrize("value", ["x", {"b": 1.5}, None])
def test_a_value_of_another_type_is_refused(tmp_path: Path, value: object) -> None:
    file = tmp_path / "decisions.json"
    Decisions(file).record("a", value)
    with pytest.raises(FileError, match="decisions"):
        Decisions(file).decide("a", dict[str, int], dict)


@pytest.mark.parametrize(
    ("hours", "minutes", "seconds"), [(None, None, 600), (0.5, None, 1800), (None, 2, 120)]
)
def test_the_budget_has_two_units(
    hours: float | None, minutes: float | None, seconds: float
) -> None:
    assert budget_seconds(FindBudgetConfig(hours, minutes)) == seconds


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
