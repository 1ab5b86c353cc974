"""Trials that failed or were lost, and clocks: nothing depends on the time of day."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import optuna
import pytest
from fake_runs import SHORT, Planned, ignore
from optuna.trial import TrialState

from darts.hpo import clock as clocks
from darts.hpo import queue
from darts.hpo import worker as workers
from darts.hpo.clock import StudyClock
from darts.hpo.queue import claim_trial, fail_and_requeue, is_over, requeue_lost, requeue_running
from darts.hpo.store import open_storage
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import LOST, counted_trials, failure_reason
from darts.hpo.worker import Worker
from darts.strategies import STRATEGIES
from darts.strategies.history import RETRIED, RETRY_HISTORY
from darts.strategies.strategy import suggest_point

# These tests act as a worker, without its heartbeat thread.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


def claim(plan: StudyPlan, study: optuna.Study, window: int) -> int | None:
    """Claim a trial and propose its point; return its number, or None if none may start."""
    claimed = claim_trial(plan, study, study.get_trials(deepcopy=False), window)
    if claimed is None:
        return None
    suggest_point(optuna.Trial(study, claimed._trial_id), plan.space.parameters)
    return claimed.number


@pytest.fixture
def plan(planned: Planned, table: Path) -> StudyPlan:
    words = ("experiment=nas201_table", "strategy=tpe", "budget.trials=6")
    return planned(*words, f"benchmark.table={table}")


def finish(study: optuna.Study, number: int) -> None:
    trial = study.get_trials(deepcopy=False)[number]
    queue.finish_trial(study, trial._trial_id, TrialState.COMPLETE, [0.5])


def test_a_trial_waits_until_the_history_that_it_sees_is_complete(plan: StudyPlan) -> None:
    study = plan.open()
    assert [claim(plan, study, window=2) for _ in range(3)] == [0, 1, None]
    finish(study, 1)
    assert claim(plan, study, window=2) is None  # trial 2 sees the result of trial 0
    finish(study, 0)
    assert [claim(plan, study, window=2) for _ in range(2)] == [2, 3]
    free = dataclasses.replace(plan, config=dataclasses.replace(plan.config))
    free.config.strategy = STRATEGIES["random"]()  # sees no results
    assert [claim(free, study, window=2) for _ in range(3)] == [4, 5, None]


def test_a_repeat_that_was_not_queued_is_queued_by_any_process(
    plan: StudyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was killed after it had recorded a loss and before it queued the repeat."""
    study = plan.open()
    claim(plan, study, 1)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "requeue_lost", lambda *arguments: None)
        assert fail_and_requeue(study, study.trials[0], "killed", retries=1)
    assert not is_over(dataclasses.replace(plan, max_trials=1), study.trials)
    before = study.get_trials(deepcopy=False)
    for _ in range(2):  # two processes do it at the same time
        requeue_lost(study, before)
    assert [t.system_attrs.get(RETRY_HISTORY) for t in study.trials] == [None, [0], [0]]
    assert claim(plan, study, 1) == 1
    finish(study, 1)
    assert claim(plan, study, 1) == 3  # nobody runs the second repeat
    assert [trial.number for trial in counted_trials(study.trials)] == [1, 3]


@pytest.mark.parametrize(
    "url", ["study.log", "sqlite:////no/such/folder/study.db", "nosuch://host/x"]
)
def test_an_unusable_url_raises_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be opened: ") as caught:
        open_storage(url, heartbeat=20)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_the_grid_point_of_a_lost_trial_is_evaluated(planned: Planned) -> None:
    """The trial was lost before its parameters were sampled."""
    fixed = [override for override in SHORT if not override.startswith("parameters.")]
    plan = planned(*fixed, "parameters.optimizer.lr=[0.01,0.02,0.04]", "strategy=grid")
    study = plan.open()
    lost = study.ask()
    others = [suggest_point(study.ask(), plan.space.parameters) for _ in range(2)]
    assert fail_and_requeue(study, study.trials[lost.number], "killed", 1)
    again = study.ask()
    assert study.trials[again.number].system_attrs[RETRIED] == lost.number
    rates = {
        point["optimizer.lr"] for point in (*others, suggest_point(again, plan.space.parameters))
    }
    assert rates == {0.01, 0.02, 0.04}


def test_a_trial_fails_once_and_is_repeated_at_most_retries_times(plan: StudyPlan) -> None:
    study = plan.open()
    study.ask()
    assert fail_and_requeue(study, study.trials[0], LOST, 1)
    assert not fail_and_requeue(study, study.trials[0], LOST, 1)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    study.ask()
    assert fail_and_requeue(study, study.trials[1], LOST, 1)
    assert len(study.trials) == 2
    assert [trial.number for trial in counted_trials(study.trials)] == [1]


def test_kills_of_the_command_and_signals_do_not_count_as_losses(plan: StudyPlan) -> None:
    study = plan.open()
    for number in (0, 1):
        assert claim(plan, study, window=1) == number
        requeue_running(study)
    assert claim(plan, study, window=1) == 2
    assert fail_and_requeue(study, study.trials[2], "its worker was stopped")
    assert claim(plan, study, window=1) == 3
    assert fail_and_requeue(study, study.trials[3], LOST, retries=1)  # the first loss
    assert claim(plan, study, window=1) == 4
    assert fail_and_requeue(study, study.trials[4], LOST, retries=1)
    assert len(study.trials) == 5
    assert [trial.number for trial in counted_trials(study.trials)] == [4]
    assert len({str(trial.params) for trial in study.trials}) == 1


def test_of_two_workers_that_claim_a_trial_at_once_one_gets_it(plan: StudyPlan) -> None:
    study = plan.open()
    waiting = optuna.create_trial(state=TrialState.WAITING)
    numbers = [study._storage.create_new_trial(study._study_id, waiting) for _ in range(40)]
    claims: list[list[int]] = [[], []]
    start = threading.Barrier(2)

    def claim(worker: int) -> None:
        storage = plan.open(existing=True)._storage
        for number in numbers:
            start.wait()
            if storage.set_trial_state_values(number, TrialState.RUNNING):
                claims[worker].append(number)

    threads = [threading.Thread(target=claim, args=(worker,)) for worker in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(claims[0] + claims[1]) == numbers


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
