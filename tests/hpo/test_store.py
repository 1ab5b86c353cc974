"""The book-keeping of trials: none waits for ever, and none is begun again for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from darts.hpo import store
from darts.hpo.store import counted, give_up, never_alive, open_storage, replaced
from darts.hpo.study import Plan, suggested
from darts.hpo.supervisor import Supervisor
from darts.strategies.strategy import RETRIED

# These tests play a worker's part by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

TABLE = ("experiment=nas201_table", "strategy=random")


@pytest.mark.parametrize(
    "url", ["study.log", "sqlite:////no/such/folder/study.db", "nosuch://host/x"]
)
def test_what_cannot_be_opened_is_told_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be opened: ") as caught:
        open_storage(url, heartbeat=20, retries=1)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database" * 100)
    with pytest.raises(ValueError, match=r"cannot be opened: .*not a database"):
        open_storage(f"sqlite:///{tmp_path}/study.db", heartbeat=20, retries=1)


@pytest.mark.slow
def test_a_worker_killed_while_its_strategy_thinks_is_missed(
    planned: Callable[..., Plan], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a trial has never given a sign of life, and Optuna would let it run for ever."""
    monkeypatch.setattr(store, "THINKING", 2)
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=3", "heartbeat=1")
    study = plan.open()
    lost, alive = study.ask(), study.ask()
    study._storage.record_heartbeat(alive._trial_id)  # type: ignore[attr-defined]
    assert never_alive(study, study.trials, 1) == []  # it may still be thinking
    time.sleep(2.1)
    assert [trial.number for trial in never_alive(study, study.trials, 1)] == [lost.number]
    Supervisor(plan, study, lambda trial: None).run()
    trials = study.trials
    assert trials[lost.number].state == trials[alive.number].state == TrialState.FAIL
    assert [trial.state for trial in counted(trials)] == [TrialState.COMPLETE] * 3
    assert never_alive(study, trials, 1) == []


def test_a_grid_point_whose_worker_was_killed_is_done_after_all(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    """Though the trial was lost before it had its parameters."""
    fixed = [override for override in short if not override.startswith("parameters.")]
    plan = planned(*fixed, "parameters.optimizer.lr=[0.01,0.02,0.04]", "strategy=grid")
    study = plan.open()
    lost = study.ask()
    others = [suggested(study.ask(), plan.space) for _ in range(2)]
    assert give_up(study, study.trials[lost.number], "killed", 1)
    again = study.ask()
    assert study.trials[again.number].system_attrs[RETRIED] == lost.number
    rates = {point["optimizer.lr"] for point in (*others, suggested(again, plan.space))}
    assert rates == {0.01, 0.02, 0.04}


def test_a_trial_is_given_up_once_and_repeated_so_often(
    planned: Callable[..., Plan], table: Path
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}")
    study = plan.open()
    study.ask()
    assert give_up(study, study.trials[0], "gone", 1)
    assert not give_up(study, study.trials[0], "gone", 1)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    study.ask()
    assert give_up(study, study.trials[1], "gone again", 1)
    assert len(study.trials) == 2
    assert replaced(study.trials) == {0}
    assert [trial.number for trial in counted(study.trials)] == [1]
