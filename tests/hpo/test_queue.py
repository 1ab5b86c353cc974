"""Trials that fail, are lost or killed: neither timing nor the time of day matters."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from fake_runs import SHORT, SPACE, SlowJudge, ignore, planned, table_of
from optuna.trial import TrialState
from slow_cases import slow_except
from waiting import wait_for, wait_until

from darts.hpo import supervisor as supervisors
from darts.hpo import worker as workers
from darts.hpo.queue import claim_trial, requeue, requeue_lost, requeue_running
from darts.hpo.store import open_storage
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import StudyClock, Supervisor
from darts.hpo.trials import OWNER, failure_reason, trial_state
from darts.hpo.worker import Worker
from darts.strategies import STRATEGIES
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
def plan(tmp_path: Path, table: Path) -> StudyPlan:
    words = ("experiment=nas201_table", "strategy=tpe", "budget.trials=6")
    return planned(tmp_path, *words, f"benchmark.table={table}")


def finish(study: optuna.Study, number: int) -> None:
    trial = study.get_trials(deepcopy=False)[number]
    study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])


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


@pytest.mark.parametrize("url", ["study.log", "sqlite:////no/folder/study.db", "nosuch://host/x"])
def test_an_unusable_url_raises_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be opened: ") as caught:
        open_storage(url, heartbeat=20)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_the_grid_point_of_a_lost_trial_is_evaluated(tmp_path: Path) -> None:
    """The trial was lost before its parameters were sampled."""
    fixed = [override for override in SHORT if not override.startswith("parameters.")]
    plan = planned(tmp_path, *fixed, "parameters.optimizer.lr=[0.01,0.02,0.04]", "strategy=grid")
    study = plan.open()
    lost = study.ask()
    others = [suggest_point(study.ask(), plan.space.parameters) for _ in range(2)]
    requeue_lost(study, study.trials[lost.number], retries=1)
    again = study.ask()
    assert again.number == lost.number
    points = (*others, suggest_point(again, plan.space.parameters))
    rates = {point["optimizer.lr"] for point in points}
    assert rates == {0.01, 0.02, 0.04}


def test_a_lost_trial_is_repeated_at_most_retries_times(plan: StudyPlan) -> None:
    study = plan.open()
    study.ask()
    seen = study.trials[0]
    for _ in range(2):  # two processes see the same loss
        requeue_lost(study, seen, retries=1)
        assert [trial_state(trial) for trial in study.trials] == ["waiting"]
    study.ask()
    for _ in range(2):
        requeue_lost(study, study.trials[0], retries=1)
        assert [trial_state(trial) for trial in study.trials] == ["failed"]
    assert failure_reason(study.trials[0]) == "its worker sends no heartbeats"


def test_a_trial_that_has_finished_is_not_repeated(plan: StudyPlan) -> None:
    """Its worker finishes it while another one decides that it is lost."""
    study = plan.open()
    claim(plan, study, window=1)
    (seen,) = study.trials
    finish(study, 0)
    requeue_lost(study, seen, retries=1)
    requeue_lost(study, seen, retries=0)
    requeue(study, seen)
    assert [trial_state(trial) for trial in study.trials] == ["complete"]


def test_kills_of_the_command_and_signals_do_not_count_as_losses(plan: StudyPlan) -> None:
    study = plan.open()
    assert claim(plan, study, window=1) == 0
    point = study.trials[0].params
    for _ in range(2):
        requeue_running(study)
        assert claim(plan, study, window=1) == 0
        requeue(study, study.trials[0])  # after a signal
        assert claim(plan, study, window=1) == 0
    requeue_lost(study, study.trials[0], retries=1)
    assert claim(plan, study, window=1) == 0
    assert study.trials[0].params == point
    requeue_lost(study, study.trials[0], retries=1)
    assert [trial_state(trial) for trial in study.trials] == ["failed"]


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

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(claim, range(2)))
    assert sorted(claims[0] + claims[1]) == numbers


TABLE = ("experiment=nas201_table", "strategy=random")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    fake = SimpleNamespace(now=100.0, monotonic=lambda: fake.now)
    for module in (supervisors, workers):
        monkeypatch.setattr(module, "time", fake)
    return fake


def test_running_time_is_summed_over_resumes(fake: SimpleNamespace) -> None:
    study = optuna.create_study()
    clock = StudyClock(study, hours=1)
    assert clock.deadline == fake.now + 3600
    fake.now += 1000
    assert clock.seconds == 1000
    clock.save()
    fake.now = 5.0  # after a restart of the machine
    again = StudyClock(study, hours=1)
    assert again.deadline == 5.0 + 2600
    fake.now += 10
    assert again.seconds == 1010


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_system_time_neither_ends_nor_extends_a_study(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    budget = ("budget.trials=5", "budget.hours=1")
    plan = planned(tmp_path, *TABLE, f"benchmark.table={table}", *budget)
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
    tmp_path: Path, table: Path, fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sets the clock of the database forward, and then a worker dies."""
    options = ("budget.trials=5", "heartbeat=10", "retries=0")
    plan = planned(tmp_path, *TABLE, f"benchmark.table={table}", *options)
    study = plan.open()
    trial = claim_trial(plan, study, [], 1)
    stale = [{trial._trial_id}, set(), {trial._trial_id}, {trial._trial_id}]
    monkeypatch.setattr(workers, "stale_trials", lambda study: stale.pop(0))
    worker = Worker(plan, study)
    states = []
    while stale:
        worker._requeue_stale(study.trials)
        states.append(study.trials[0].state)
        worker._requeue_stale(study.trials)  # too early for another look
        fake.now += 11
    running = TrialState.RUNNING
    assert states == [running, running, running, TrialState.FAIL]
    assert failure_reason(study.trials[0]) == "its worker sends no heartbeats"


def study_plan(folder: Path, judge: SlowJudge, *overrides: str) -> StudyPlan:
    """Plan a study with a slow judge in a new directory."""
    # Several processes or threads with a supervisor or worker of their own share the database.
    plan = planned(folder.parent, *SPACE, f"storage=sqlite:///{folder}.db", *overrides)
    plan.config.judge = judge
    return dataclasses.replace(plan, directory=folder)


def run_in_threads(plan: StudyPlan, workers: int = 2) -> list[tuple[str, dict[str, Any], Any]]:
    """Run a study with workers in threads, which start faster than processes."""
    plan.open()

    def work(_: int) -> None:
        worker = Worker(plan, plan.open(existing=True))
        while worker.step():
            pass

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(work, range(workers)))
    return table_of(plan)


@pytest.mark.parametrize("strategy", slow_except(STRATEGIES, ("tpe",)))
def test_timing_does_not_change_the_points(tmp_path: Path, strategy: str) -> None:
    options = [f"strategy={strategy}", "workers=2", "budget.trials=10"]
    options += ["strategy.startup=3"] if strategy in ("tpe", "gp") else []
    options += ["strategy.population=4"] if strategy in ("evolution", "nsga2") else []
    options += ["strategy.starts=3"] if strategy == "greedy" else []
    judges = [SlowJudge(pause_seed=d, at_once=2) for d in range(3)]
    plans = [study_plan(tmp_path / f"{j.pause_seed}", j, *options) for j in judges]
    one, two, three = (run_in_threads(plan) for plan in plans)
    assert len(one) == 10
    assert one == two == three
    begun = plans[0].directory / "trials" / "begun"
    assert len({file.read_text() for file in begun.iterdir()}) == 2  # both got trials


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband", "halving"])
def test_timing_does_not_change_what_is_pruned(tmp_path: Path, pruner: str) -> None:
    options = (f"pruner={pruner}", "workers=2", "strategy=random", "budget.trials=12", "epochs=4")
    options += ("pruner.factor=2",) if pruner != "median" else ("pruner.startup=2",)
    judges = [SlowJudge(pause_seed=d, seconds=0.03, epochs=4) for d in range(2)]
    plans = [study_plan(tmp_path / f"{j.pause_seed}", j, *options) for j in judges]
    one, two = (run_in_threads(plan) for plan in plans)
    assert one == two
    assert {row[0] for row in one} == {"complete", "pruned"}


@pytest.mark.slow
def test_the_window_is_stored_when_a_study_begins(tmp_path: Path) -> None:
    """A study that is continued with another number of workers has the same points."""
    options = ("strategy=tpe", "strategy.startup=3", "budget.trials=10")
    whole = run_in_threads(study_plan(tmp_path / "a", SlowJudge(seconds=0), *options, "workers=2"))
    own = (*options[:2], "budget.trials=5", "workers=2")
    half = study_plan(tmp_path / "b", SlowJudge(seconds=0), *own)
    run_in_threads(half)
    rest = study_plan(tmp_path / "b", SlowJudge(seconds=0), *options, "workers=1")
    assert run_in_threads(rest, workers=1) == whole
    other = study_plan(tmp_path / "c", SlowJudge(seconds=0), *options, "workers=1")
    assert run_in_threads(other, workers=1) != whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_workers_do_not_change_the_table(tmp_path: Path, seed: int) -> None:
    options = ("strategy=tpe", "strategy.startup=2", "budget.trials=6", "workers=2", "epochs=6")
    options += ("save_minutes=0",)

    def plan_of(name: str) -> StudyPlan:
        storage = f"sqlite:///{tmp_path / name}.db"
        plan = planned(tmp_path, *SHORT, *options, "loader.batch_size=4")
        return dataclasses.replace(plan, directory=tmp_path / name, storage=storage)

    whole, killed = plan_of("whole"), plan_of("killed")
    Supervisor(whole, whole.open(), ignore).run()
    supervisor = Supervisor(killed, killed.open(), ignore)

    def kill() -> None:
        for number in sorted(Random(seed).sample(range(6), 2)):  # the trials whose workers die
            wait_for(killed.directory / f"trials/{number:04d}/checkpoint.safetensors")
            for worker in supervisor.executor._workers:  # type: ignore[attr-defined]
                with suppress(AttributeError, ProcessLookupError):  # it has not started yet
                    os.kill(worker.process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    supervisor.run()
    thread.join()
    assert table_of(killed) == table_of(whole)
    assert {trial_state(trial) for trial in killed.open().trials} == {"complete"}


def drive(plan: StudyPlan) -> None:
    """Run a study in a process of its own."""
    Supervisor(plan, plan.open(existing=True), ignore).run()


@pytest.mark.slow
def test_a_stopped_process_drops_the_result_of_a_trial_that_was_taken_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGSTOP for longer than three heartbeats, then SIGCONT."""
    options = ("strategy=tpe", "budget.trials=6", "window=2", "heartbeat=1")
    whole = run_in_threads(study_plan(tmp_path / "whole", SlowJudge(seconds=0), *options))
    plan = study_plan(tmp_path / "stopped", SlowJudge(seconds=2.5), *options)
    study = plan.open()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=drive, args=(plan,)) for _ in range(2)]
    processes[0].start()
    wait_until(lambda: any(trial_state(t) == "running" and t.params for t in study.trials))
    lost = next(t.number for t in study.trials if trial_state(t) == "running")
    os.kill(processes[0].pid or 0, signal.SIGSTOP)
    processes[1].start()

    owner = study.trials[lost].user_attrs[OWNER]
    wait_until(lambda: study.trials[lost].user_attrs[OWNER] != owner)
    os.kill(processes[0].pid or 0, signal.SIGCONT)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert f"trial {lost} counts as lost, so its result is dropped" in capfd.readouterr().out
    assert table_of(plan) == whole
