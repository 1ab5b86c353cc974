"""The queue of a study: the order of trials, full disks, and how long workers wait."""

from __future__ import annotations

import dataclasses
import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from darts.hpo import queue
from darts.hpo.queue import claim_trial, fail_and_requeue, is_over, requeue_lost
from darts.hpo.store import storage_errors
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import counted_trials
from darts.strategies import STRATEGIES
from darts.strategies.history import RETRY_HISTORY
from darts.strategies.strategy import suggest_point
from darts.writing import WriteError

TABLE = ("experiment=nas201_table", "strategy=tpe")


def claim(plan: StudyPlan, study: optuna.Study, window: int) -> int | None:
    """Claim a trial and propose its point; return its number, or None if none may start."""
    claimed = claim_trial(plan, study, study.get_trials(deepcopy=False), window)
    if claimed is None:
        return None
    suggest_point(optuna.Trial(study, claimed._trial_id), plan.space.parameters)
    return claimed.number


@pytest.fixture
def plan(planned: Callable[..., StudyPlan], table: Path) -> StudyPlan:
    return planned(*TABLE, f"benchmark.table={table}", "budget.trials=6", "workers=0")


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


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_loses_no_trial(plan: StudyPlan) -> None:
    study = plan.open()
    from sqlalchemy import event

    engine = study._storage._backend.engine  # type: ignore[attr-defined]

    def limit(connection: sqlite3.Connection, *rest: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # no new page

    event.listen(engine, "connect", limit)
    study._storage.remove_session()
    engine.dispose()
    with pytest.raises(WriteError) as caught, storage_errors(plan.storage):
        Supervisor(plan, study, lambda trial: None).run()
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).endswith("study.db': database or disk is full")
    event.remove(engine, "connect", limit)
    study._storage.remove_session()
    engine.dispose()
    again = plan.open(existing=True)
    Supervisor(dataclasses.replace(plan), again, lambda trial: None).run()
    done = counted_trials(again.trials)
    assert [trial.state for trial in done] == [TrialState.COMPLETE] * 6
