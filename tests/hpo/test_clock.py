"""Clocks: running time and lost workers do not depend on the time of day."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from fake_runs import Planned, ignore
from optuna.trial import TrialState

from darts.hpo import clock as clocks
from darts.hpo import worker as workers
from darts.hpo.clock import StudyClock
from darts.hpo.queue import claim_trial
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import failure_reason
from darts.hpo.worker import Worker

TABLE = ("experiment=nas201_table", "strategy=random")


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    for module in (clocks, workers):
        monkeypatch.setattr(module, "time", fake)
    return fake


def test_running_time_is_summed_over_resumes(fake: FakeTime) -> None:
    study = optuna.create_study()
    clock = StudyClock(study, hours=1)
    with clock.running():
        assert clock.deadline == fake.now + 3600
        fake.now += 1000
        assert clock.seconds == 1000
    fake.now = 5.0  # after a restart of the machine
    again = StudyClock(study, hours=1)
    assert again.deadline == 5.0 + 2600
    fake.now += 10
    assert again.seconds == 1010


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_system_time_neither_ends_nor_extends_a_study(
    planned: Planned, table: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=5", "budget.hours=1")
    study = plan.open()
    clock = StudyClock(study, hours=1)
    original = time.time
    monkeypatch.setattr(time, "time", lambda: original() + jump)
    Supervisor(plan, study, ignore, deadline=clock.deadline).run()
    assert len(study.trials) == 5
    late = StudyClock(study, hours=1e-9)
    Supervisor(plan, study, ignore, deadline=late.deadline).run()
    assert clock.seconds < 100


def test_only_trials_that_are_stale_at_two_looks_are_requeued(
    planned: Planned, table: Path, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sets the clock of the database forward, and then a worker dies."""
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=5", "heartbeat=10")
    study = plan.open()
    trial = claim_trial(plan, study, [], 1)
    stale = [{trial._trial_id}, set(), {trial._trial_id}, {trial._trial_id}]
    monkeypatch.setattr(workers, "stale_trials", lambda study: stale.pop(0))
    worker = Worker(plan, study)
    states = []
    while stale:
        worker._fail_stale_trials()
        states.append(study.trials[0].state)
        worker._fail_stale_trials()  # too early for another look
        fake.now += 11
    running = TrialState.RUNNING
    assert states == [running, running, running, TrialState.FAIL]
    assert failure_reason(study.trials[0]) == "its worker sends no heartbeats"
