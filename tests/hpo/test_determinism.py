"""The points of a study are a function of its seed, whatever happens to its workers."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from slow_judge import SPACE, SlowJudge

from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import WORKER, counted_trials, failure_reason, trial_state
from darts.hpo.worker import Worker
from darts.strategies import STRATEGIES
from darts.strategies.history import RETRIED


@pytest.fixture
def study_plan(planned: Callable[..., StudyPlan], tmp_path: Path) -> Callable[..., StudyPlan]:
    """Return a function that plans a study with a slow judge in a new directory."""

    def make(name: str, judge: SlowJudge, *overrides: str) -> StudyPlan:
        plan = planned(*SPACE, *overrides)
        plan.config.judge = judge
        storage = f"sqlite:///{tmp_path / name}.db"
        return dataclasses.replace(plan, directory=tmp_path / name, storage=storage)

    return make


def table_of(plan: StudyPlan) -> list[tuple[str, dict[str, Any], Any]]:
    trials = counted_trials(plan.open(existing=True).trials)
    return [(trial_state(trial), trial.params, trial.values) for trial in trials]


def run_in_threads(plan: StudyPlan, workers: int = 2) -> list[tuple[str, dict[str, Any], Any]]:
    """Run a study with workers in threads, which start faster than processes."""
    plan.open()

    def work(name: str) -> None:
        worker = Worker(plan, plan.open(existing=True), name)
        while worker.step():
            pass

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return table_of(plan)


@pytest.mark.parametrize(
    "strategy", [pytest.param(n, marks=() if n == "tpe" else pytest.mark.slow) for n in STRATEGIES]
)
def test_timing_does_not_change_the_points(
    study_plan: Callable[..., StudyPlan], strategy: str
) -> None:
    options = [f"strategy={strategy}", "workers=2", "budget.trials=10"]
    options += ["strategy.startup=3"] if strategy in ("tpe", "cmaes", "gp") else []
    options += ["strategy.population=4"] if strategy in ("evolution", "nsga2") else []
    options += ["strategy.starts=3"] if strategy == "greedy" else []
    plans = [study_plan(f"{d}", SlowJudge(pause_seed=d, at_once=2), *options) for d in range(3)]
    one, two, three = (run_in_threads(plan) for plan in plans)
    assert len(one) == 10
    assert one == two == three
    workers = {trial.user_attrs[WORKER] for trial in plans[0].open().trials if trial.params}
    assert workers == {"0", "1"}


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband", "halving"])
def test_timing_does_not_change_what_is_pruned(
    study_plan: Callable[..., StudyPlan], pruner: str
) -> None:
    options = (f"pruner={pruner}", "workers=2", "strategy=random", "budget.trials=12", "epochs=4")
    options += ("pruner.factor=2",) if pruner != "median" else ("pruner.startup=2",)
    judges = [SlowJudge(pause_seed=d, seconds=0.03, epochs=4) for d in range(2)]
    one, two = (run_in_threads(study_plan(f"{j.pause_seed}", j, *options)) for j in judges)
    assert one == two
    assert {row[0] for row in one} == {"complete", "pruned"}


@pytest.mark.slow
def test_the_window_is_stored_when_a_study_begins(study_plan: Callable[..., StudyPlan]) -> None:
    """A study that is continued with another number of workers has the same points."""
    options = ("strategy=tpe", "strategy.startup=3", "budget.trials=10")
    whole = run_in_threads(study_plan("a", SlowJudge(seconds=0), *options, "workers=2"))
    half = study_plan("b", SlowJudge(seconds=0), *options[:2], "budget.trials=5", "workers=2")
    run_in_threads(half)
    rest = study_plan("b", SlowJudge(seconds=0), *options, "workers=1")
    assert run_in_threads(rest, workers=1) == whole
    other = study_plan("c", SlowJudge(seconds=0), *options, "workers=1")
    assert run_in_threads(other, workers=1) != whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_workers_do_not_change_the_table(
    study_plan: Callable[..., StudyPlan], seed: int
) -> None:
    options = ("strategy=tpe", "strategy.startup=3", "budget.trials=10", "workers=2", "retries=9")
    whole = run_in_threads(study_plan("whole", SlowJudge(seconds=0), *options))
    plan = study_plan("killed", SlowJudge(pause_seed=seed, seconds=1), *options)
    random = Random(seed)
    counts = [random.randint(1, 3), random.randint(4, 7)]  # finished trials at each kill

    def kill(trials: list[Any]) -> None:
        finished = sum(trial_state(trial) == "complete" for trial in trials)
        if counts and finished >= counts[0] and supervisor._workers:
            counts.pop(0)
            _, process = random.choice(list(supervisor._workers.values()))
            os.kill(process.pid or 0, signal.SIGKILL)

    supervisor = Supervisor(plan, plan.open(), lambda trial: None)
    supervisor.run(kill)
    assert not counts
    assert table_of(plan) == whole
    for trial in plan.open().trials:
        if trial_state(trial) == "failed":
            # The supervisor cannot know who claimed a trial that does not have a name yet.
            named = "its worker was killed by SIGKILL (out of memory?)"
            unnamed = "its worker sends no heartbeats"
            assert failure_reason(trial) == (named if WORKER in trial.user_attrs else unnamed)


@pytest.mark.slow
def test_a_stopped_worker_drops_the_result_of_a_trial_that_was_taken_over(
    study_plan: Callable[..., StudyPlan],
) -> None:
    """SIGSTOP for longer than three heartbeats, then SIGCONT."""
    options = ("strategy=tpe", "budget.trials=6", "workers=2", "heartbeat=1")
    whole = run_in_threads(study_plan("whole", SlowJudge(seconds=0), *options))
    plan = study_plan("stopped", SlowJudge(seconds=2.5), *options)
    stopped: dict[str, Any] = {}

    def stop(trials: list[Any]) -> None:
        if not stopped:
            running = [t for t in trials if trial_state(t) == "running" and WORKER in t.user_attrs]
            if running and running[0].params:
                name = running[0].user_attrs[WORKER]
                number, process = supervisor._workers[name]
                os.kill(process.pid or 0, signal.SIGSTOP)
                stopped.update(pid=process.pid, trial=running[0].number, number=number, at=1)
        elif "continued" not in stopped:
            again = [t for t in trials if t.system_attrs.get(RETRIED) == stopped["trial"]]
            if again and trial_state(again[0]) in ("running", "complete"):
                os.kill(stopped["pid"], signal.SIGCONT)
                stopped["continued"] = True

    supervisor = Supervisor(plan, plan.open(), lambda trial: None)
    supervisor.run(stop)
    trials = plan.open().trials
    lost = trials[stopped["trial"]]
    assert (trial_state(lost), lost.values) == ("failed", None)
    assert failure_reason(lost) == "its worker sends no heartbeats"
    assert len(trials) == 7  # one repeat, no duplicates
    log = (plan.directory / "workers" / f"{stopped['number']}.log").read_text()
    assert f"trial {lost.number} counts as lost, so its result is dropped" in log
    assert table_of(plan) == whole
