"""The queue and the storage of a study: order of trials, lost trials, full disks."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import optuna
import pytest
from fake_runs import SHORT, Planned
from optuna.trial import TrialState

from darts.hpo import queue
from darts.hpo.queue import claim_trial, fail_and_requeue, is_over, requeue_lost, requeue_running
from darts.hpo.store import open_storage
from darts.hpo.study import StudyPlan
from darts.hpo.trials import LOST, counted_trials
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
