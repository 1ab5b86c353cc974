"""The points of a study are a function of its seed, whatever happens to its workers."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fake_runs import SHORT, Planned, ignore, table_of
from slow_cases import slow_except
from slow_judge import SPACE, SlowJudge
from waiting import wait_for, wait_until

from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import failure_reason, trial_state
from darts.hpo.worker import Worker
from darts.strategies import STRATEGIES
from darts.strategies.history import RETRIED


@pytest.fixture
def study_plan(planned: Planned, tmp_path: Path) -> Planned:
    """Return a function that plans a study with a slow judge in a new directory."""

    def make(name: str, judge: SlowJudge, *overrides: str) -> StudyPlan:
        # Several processes or threads with a supervisor or worker of their own share the database.
        plan = planned(*SPACE, f"storage=sqlite:///{tmp_path / name}.db", *overrides)
        plan.config.judge = judge
        return dataclasses.replace(plan, directory=tmp_path / name)

    return make


def run_in_threads(plan: StudyPlan, workers: int = 2) -> list[tuple[str, dict[str, Any], Any]]:
    """Run a study with workers in threads, which start faster than processes."""
    plan.open()

    def work() -> None:
        worker = Worker(plan, plan.open(existing=True))
        while worker.step():
            pass

    threads = [threading.Thread(target=work, name=f"{n}") for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return table_of(plan)


@pytest.mark.parametrize("strategy", slow_except(STRATEGIES, ("tpe",)))
def test_timing_does_not_change_the_points(study_plan: Planned, strategy: str) -> None:
    options = [f"strategy={strategy}", "workers=2", "budget.trials=10"]
    options += ["strategy.startup=3"] if strategy in ("tpe", "cmaes", "gp") else []
    options += ["strategy.population=4"] if strategy in ("evolution", "nsga2") else []
    options += ["strategy.starts=3"] if strategy == "greedy" else []
    plans = [study_plan(f"{d}", SlowJudge(pause_seed=d, at_once=2), *options) for d in range(3)]
    one, two, three = (run_in_threads(plan) for plan in plans)
    assert len(one) == 10
    assert one == two == three
    begun = plans[0].directory / "trials" / "begun"
    assert {file.read_text() for file in begun.iterdir()} == {"0", "1"}  # both got trials


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband", "halving"])
def test_timing_does_not_change_what_is_pruned(study_plan: Planned, pruner: str) -> None:
    options = (f"pruner={pruner}", "workers=2", "strategy=random", "budget.trials=12", "epochs=4")
    options += ("pruner.factor=2",) if pruner != "median" else ("pruner.startup=2",)
    judges = [SlowJudge(pause_seed=d, seconds=0.03, epochs=4) for d in range(2)]
    one, two = (run_in_threads(study_plan(f"{j.pause_seed}", j, *options)) for j in judges)
    assert one == two
    assert {row[0] for row in one} == {"complete", "pruned"}


@pytest.mark.slow
def test_the_window_is_stored_when_a_study_begins(study_plan: Planned) -> None:
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
    planned: Planned, tmp_path: Path, seed: int
) -> None:
    options = ("strategy=tpe", "strategy.startup=2", "budget.trials=6", "workers=2", "epochs=6")
    options += ("save_minutes=0",)

    def plan_of(name: str) -> StudyPlan:
        storage = f"sqlite:///{tmp_path / name}.db"
        plan = planned(*SHORT, *options, "loader.batch_size=4")
        return dataclasses.replace(plan, directory=tmp_path / name, storage=storage)

    whole, killed = plan_of("whole"), plan_of("killed")
    Supervisor(whole, whole.open(), ignore).run()
    supervisor = Supervisor(killed, killed.open(), ignore)

    def kill() -> None:
        for number in sorted(Random(seed).sample(range(6), 2)):  # the trials whose workers die
            wait_for(killed.directory / f"trials/{number:04d}/checkpoint.safetensors")
            for worker in supervisor.executor._executor._workers:  # type: ignore[attr-defined]
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
    study_plan: Planned, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGSTOP for longer than three heartbeats, then SIGCONT."""
    options = ("strategy=tpe", "budget.trials=6", "window=2", "heartbeat=1")
    whole = run_in_threads(study_plan("whole", SlowJudge(seconds=0), *options))
    plan = study_plan("stopped", SlowJudge(seconds=2.5), *options)
    study = plan.open()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=drive, args=(plan,)) for _ in range(2)]
    processes[0].start()
    wait_until(lambda: any(trial_state(t) == "running" and t.params for t in study.trials))
    lost = next(t.number for t in study.trials if trial_state(t) == "running")
    os.kill(processes[0].pid or 0, signal.SIGSTOP)
    processes[1].start()

    def is_taken_over() -> bool:
        again = [t for t in study.trials if t.system_attrs.get(RETRIED) == lost]
        return bool(again) and trial_state(again[0]) in ("running", "complete")

    wait_until(is_taken_over)
    os.kill(processes[0].pid or 0, signal.SIGCONT)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    trials = plan.open().trials
    assert (trial_state(trials[lost]), trials[lost].values) == ("failed", None)
    assert failure_reason(trials[lost]) == "its worker sends no heartbeats"
    assert len(trials) == 7  # one repeat, no duplicates
    assert f"trial {lost} counts as lost, so its result is dropped" in capfd.readouterr().out
    assert table_of(plan) == whole
