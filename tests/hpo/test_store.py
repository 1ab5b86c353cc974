"""Storage and recovery: a lost trial does not run forever, and is not repeated forever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from darts.hpo.queue import fail_and_requeue
from darts.hpo.store import open_storage
from darts.hpo.study import StudyPlan
from darts.hpo.trials import counted_trials
from darts.strategies.history import RETRIED
from darts.strategies.strategy import suggest_point

# These tests act as a worker, without its heartbeat thread.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

TABLE = ("experiment=nas201_table", "strategy=random")


@pytest.mark.parametrize(
    "url", ["study.log", "sqlite:////no/such/folder/study.db", "nosuch://host/x"]
)
def test_an_unusable_url_raises_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be opened: ") as caught:
        open_storage(url, heartbeat=20)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_the_grid_point_of_a_lost_trial_is_evaluated(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    """The trial was lost before its parameters were sampled."""
    fixed = [override for override in short if not override.startswith("parameters.")]
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


def test_a_trial_fails_once_and_is_repeated_at_most_retries_times(
    planned: Callable[..., StudyPlan], table: Path
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}")
    study = plan.open()
    study.ask()
    assert fail_and_requeue(study, study.trials[0], "gone", 1)
    assert not fail_and_requeue(study, study.trials[0], "gone", 1)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    study.ask()
    assert fail_and_requeue(study, study.trials[1], "gone again", 1)
    assert len(study.trials) == 2
    assert [trial.number for trial in counted_trials(study.trials)] == [1]


def test_of_two_workers_that_claim_a_trial_at_once_one_gets_it(
    planned: Callable[..., StudyPlan], table: Path
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=200")
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
