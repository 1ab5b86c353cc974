"""Clocks: running time and lost workers do not depend on the time of day."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest

from darts.hpo import clock as clocks
from darts.hpo import heartbeats
from darts.hpo.clock import StudyClock
from darts.hpo.heartbeats import HeartbeatWatch
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor

TABLE = ("experiment=nas201_table", "strategy=random")


class FakeTime:
    """A monotonic clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    for module in (clocks, heartbeats):
        monkeypatch.setattr(module, "time", fake)
    return fake


def test_running_time_is_summed_over_resumes(fake: FakeTime) -> None:
    study = optuna.create_study()
    with StudyClock(study, hours=1) as clock:
        assert clock.deadline == fake.now + 3600
        fake.now += 1000
        assert clock.seconds == 1000
    fake.now = 5.0  # after a restart of the machine
    again = StudyClock(study, hours=1)
    assert again.deadline == 5.0 + 2600
    fake.now += 10
    assert again.seconds == 1010


def test_a_killed_study_loses_only_the_seconds_since_the_last_save(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time is saved while a trial runs."""
    monkeypatch.setattr(clocks, "SAVE_INTERVAL", 0.05)
    study = optuna.create_study()
    with StudyClock(study):
        time.sleep(0.5)
        saved = study.user_attrs[clocks.CLOCK]["seconds"]
    assert saved > 0.2


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_system_time_neither_ends_nor_extends_a_study(
    planned: Callable[..., StudyPlan], table: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=5", "budget.hours=1")
    study = plan.open()
    clock = StudyClock(study, plan.config.budget.hours)
    original = time.time
    monkeypatch.setattr(time, "time", lambda: original() + jump)
    Supervisor(plan, study, lambda trial: None, deadline=clock.deadline).run()
    assert len(study.trials) == 5
    late = StudyClock(study, hours=1e-9)
    Supervisor(plan, study, lambda trial: None, deadline=late.deadline).run()
    assert clock.seconds < 100


def trial(started: datetime) -> Any:
    made = optuna.create_trial(state=optuna.trial.TrialState.RUNNING)
    made.datetime_start, made._trial_id = started, 1
    return made


def test_a_heartbeat_is_lost_when_it_does_not_change(
    fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2030, 1, 1)
    beats, database_clock = {1: start}, [start]
    monkeypatch.setattr(heartbeats, "_heartbeats", lambda study: (beats, database_clock[0]))
    watch, running = HeartbeatWatch(optuna.create_study(), interval=10), trial(start)
    assert watch.lost([running]) == []
    database_clock[0] += timedelta(days=1)  # somebody sets the clock forward
    fake.now += 29
    assert watch.lost([running]) == []
    beats[1] += timedelta(seconds=10)
    fake.now += 29
    assert watch.lost([running]) == []
    fake.now += 31
    assert watch.lost([running]) == [running]


def test_an_old_heartbeat_is_lost_at_first_sight(
    fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens, for example, if a study is resumed the next day."""
    start = datetime(2030, 1, 1)
    for age, lost in ((29, False), (31, True)):
        now = start + timedelta(seconds=age)
        monkeypatch.setattr(heartbeats, "_heartbeats", lambda study, now=now: ({1: start}, now))
        watch = HeartbeatWatch(optuna.create_study(), interval=10)
        assert bool(watch.lost([trial(start)])) is lost
