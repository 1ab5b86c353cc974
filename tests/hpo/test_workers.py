"""Workers: each trial once, none lost, and whatever goes wrong is a result."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState

from darts.hpo import worker as workers
from darts.hpo.store import counted, give_up, replaced
from darts.hpo.study import WORKER, Plan, failure_of, scores_of, suggested
from darts.hpo.supervisor import Supervisor
from darts.hpo.worker import Worker, needed, reason_of
from darts.strategies.strategy import RETRIED, SURPLUS

# These tests play a worker's part by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

TABLE = ("experiment=nas201_table", "strategy=random")


def told(trial: Any) -> None:
    """Nothing."""


def run(plan: Plan) -> list[Any]:
    study = plan.open()
    Supervisor(plan, study, told).run()
    return list(study.trials)


def test_a_budget_of_trials_is_kept(planned: Callable[..., Plan], table: Path) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=12")
    trials = run(plan)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 12
    assert all(scores_of(t)["valid_accuracy"] == t.values[0] for t in trials)
    assert needed(plan, trials) == "no more"


def test_two_workers_share_a_study(planned: Callable[..., Plan], table: Path) -> None:
    """Real processes: every trial has one of them, and both have some."""
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=30", "workers=2")
    seen: list[int] = []
    study = plan.open()
    Supervisor(plan, study, lambda trial: seen.append(trial.number)).run()
    trials = counted(study.trials)
    assert len(trials) == 30
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert sorted(seen) == sorted(trial.number for trial in trials)
    signed = Counter(trial.user_attrs[WORKER] for trial in trials)
    assert len(signed) == 2


def test_a_killed_workers_trial_is_done_again(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    """SIGKILL amid a trial: it is recorded with its end, and repeated with the same point."""
    plan = planned(*short, "budget.trials=3", "workers=1")
    study = plan.open()
    supervisor = Supervisor(plan, study, told)
    killed: list[int] = []

    def kill(trials: list[Any]) -> None:
        running = [t for t in trials if t.state == TrialState.RUNNING and t.params]
        started = [t for t in running if (plan.directory / f"trials/{t.number:04d}").is_dir()]
        if started and not killed:
            killed.append(started[0].number)
            (_, process), *_ = supervisor._workers.values()
            os.kill(process.pid or 0, signal.SIGKILL)

    supervisor.run(kill)
    trials = study.trials
    assert len(killed) == 1
    lost = trials[killed[0]]
    assert lost.state == TrialState.FAIL
    assert failure_of(lost) == "its worker was ended by SIGKILL (out of memory?)"
    (again,) = [trial for trial in trials if RETRIED in trial.system_attrs]
    assert again.params == lost.params
    assert again.state == TrialState.COMPLETE
    assert replaced(trials) == {lost.number}
    assert len(counted(trials)) == 3
    assert all(trial.state == TrialState.COMPLETE for trial in counted(trials))


def test_a_trial_that_kills_its_worker_is_given_up(
    planned: Callable[..., Plan], table: Path
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=2", "retries=2")
    study = plan.open()
    for lost in range(3):
        trial = study.ask()
        suggested(trial, plan.space)
        assert trial.number == lost
        assert give_up(study, study.trials[-1], "its worker died", plan.config.retries)
    assert not give_up(study, study.trials[0], "again", plan.config.retries)
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 3
    assert [t.number for t in counted(study.trials)] == [2]
    assert len({json.dumps(t.params) for t in study.trials}) == 1
    Supervisor(plan, study, told).run()
    assert [t.state for t in counted(study.trials)] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.slow
def test_without_a_heartbeat_a_trial_is_taken_for_lost(
    planned: Callable[..., Plan], table: Path
) -> None:
    """As that of another machine, whose end nobody here has seen."""
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=2", "heartbeat=1")
    study = plan.open()
    elsewhere = study.ask()
    suggested(elsewhere, plan.space)
    study._storage.record_heartbeat(elsewhere._trial_id)  # type: ignore[attr-defined]
    begin = time.monotonic()
    Supervisor(plan, study, told).run()
    assert 1 < time.monotonic() - begin < 20
    trials = study.trials
    assert trials[elsewhere.number].state == TrialState.FAIL
    assert failure_of(trials[elsewhere.number]) == "its worker is gone"
    assert [t.state for t in counted(trials)] == [TrialState.COMPLETE] * 2
    assert trials[-1].params == trials[elsewhere.number].params


def test_of_two_who_take_the_last_place_one_steps_back(
    planned: Callable[..., Plan], table: Path
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=1")
    study = plan.open()
    first, second = study.ask(), study.ask()  # both saw that one was needed
    worker = Worker(plan, study, "tester")
    values = worker(first)
    study.tell(first, values)
    with pytest.raises(workers.TrialFailed):
        worker(second)
    study.tell(second, state=TrialState.FAIL)
    assert study.trials[1].user_attrs[SURPLUS] is True
    assert [t.number for t in counted(study.trials)] == [0]
    assert needed(plan, study.trials) == "no more"


class Troubled:
    """An evaluation that goes wrong in the ways that trainings do."""

    name = "train"
    trains = False
    needs_genotype = False

    def __call__(self, candidate: Any, tools: Any) -> dict[str, Any]:
        number = int(candidate.directory.name)
        if number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if number == 2:
            raise FloatingPointError("the loss is nan\nin epoch 3")
        if number == 3:
            return {"valid_accuracy": float("nan")}
        if number == 4:
            raise MemoryError
        return {"valid_accuracy": 0.5}


def test_failure_is_a_result(planned: Callable[..., Plan], short: list[str]) -> None:
    plan = planned(*short, "budget.trials=6", "workers=0")
    plan.config.evaluation = Troubled()  # type: ignore[assignment]
    trials = run(plan)
    failed, fine = TrialState.FAIL, TrialState.COMPLETE
    assert [trial.state for trial in trials] == [fine, failed, failed, failed, failed, fine]
    assert [failure_of(trial) for trial in trials[1:5]] == [
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB",
        "FloatingPointError: the loss is nan in epoch 3",
        "ValueError: valid_accuracy=nan is no finite number",
        "out of memory: ",
    ]


def test_a_learning_rate_that_diverges_is_recorded(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    plan = planned(
        *short,
        "~parameters.optimizer",
        "parameters.optimizer={lr: [0.05, 1.0e12]}",
        "strategy=grid",
        "strategy.order=written",
        "workers=0",
    )
    trials = run(plan)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert "loss" in failure_of(trials[1])
    log = (plan.directory / "trials/0001/log.txt").read_text()
    assert "Diverged" in log


def test_a_study_in_which_nothing_works_ends(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    plan = planned(*short, "budget.trials=20", "workers=0")

    class Broken(Troubled):
        def __call__(self, candidate: Any, tools: Any) -> dict[str, Any]:
            raise RuntimeError("no such operator")

    plan.config.evaluation = Broken()  # type: ignore[assignment]
    study = plan.open()
    line = "the first 3 trials all failed; trial 0: RuntimeError: no such operator"
    with pytest.raises(ValueError, match=line):
        Supervisor(plan, study, told).run()
    assert len(study.trials) == 3


def test_a_score_that_is_not_told_fails_the_trial(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    """As of a metric that needs more classes than the data have."""
    plan = planned(*short, "budget.trials=1", "workers=0", "metric=top5_accuracy")
    plan.config.evaluation = Troubled()  # type: ignore[assignment]
    (trial,) = run(plan)
    assert failure_of(trial) == "ValueError: evaluation=train tells valid_accuracy"


@pytest.mark.slow
def test_pruned_trials_end_early(planned: Callable[..., Plan], short: list[str]) -> None:
    """Successive halving: of three trials at the first rung one goes on."""
    plan = planned(
        *short,
        "budget.trials=6",
        "pruning=halving",
        "pruning.factor=2",
        "metric=loss",
        "workers=0",
        "epochs=3",
    )
    trials = run(plan)
    states = Counter(trial.state for trial in trials)
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        assert list(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
        if trial.state == TrialState.PRUNED:
            assert len(trial.intermediate_values) < 3
        else:
            assert len(trial.intermediate_values) == 3


@pytest.mark.parametrize("strategy", ["random", "evolution", "greedy", "tpe"])
def test_hyperband_works_with_every_kind_of_sampler(
    planned: Callable[..., Plan], short: list[str], strategy: str
) -> None:
    plan = planned(*short, "pruning=hyperband", f"strategy={strategy}", "workers=0")

    class Steps(Troubled):
        def __call__(self, candidate: Any, tools: Any) -> dict[str, Any]:
            for epoch in (1, 2):
                candidate.watch(epoch, {"accuracy": 0.1 * epoch})
            return {"valid_accuracy": 0.2}

    plan.config.evaluation = Steps()  # type: ignore[assignment]
    assert len(run(plan)) == 4


def test_a_stopped_worker_hands_its_trial_back(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    """SIGTERM: the trial saves itself and waits in the queue, whatever the number of retries."""
    plan = planned(*short, "budget.trials=2", "workers=0", "retries=0", "epochs=400")
    study = plan.open()

    def stop() -> None:
        while not list(plan.directory.glob("trials/0000/metrics.jsonl")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert Supervisor(plan, study, told).run() == signal.SIGTERM
    first, second = study.trials
    assert first.state == TrialState.FAIL
    assert failure_of(first) == "its worker was stopped"
    assert (second.state, second.params) == (TrialState.WAITING, first.params)


def test_costs_and_limits(planned: Callable[..., Plan], table: Path) -> None:
    """Costs that an evaluation does not tell are measured on the network."""
    plan = planned(
        *TABLE,
        f"benchmark.table={table}",
        "budget.trials=4",
        "costs=[parameters]",
        "limits.flops=1e9",
        "dataset=synthetic",
        "space.channels=2",
        "space.cells=1",
    )
    trials = run(plan)
    assert all(len(trial.values) == 2 for trial in trials)
    assert len({trial.values[1] for trial in trials}) > 1
    assert all(scores_of(trial)["flops"] > 0 for trial in trials)


def test_reasons_are_one_line() -> None:
    assert reason_of(ValueError("a\n b")) == "ValueError: a b"
    assert reason_of(KeyError()) == "KeyError"
    assert len(reason_of(RuntimeError("x" * 5000))) < 400


def test_what_is_printed_goes_into_the_log(tmp_path: Path, capfd: Any) -> None:
    with workers.told_to(tmp_path / "a" / "log.txt"):
        os.system("echo from another process")
        print("from Python")
    print("outside")
    assert (tmp_path / "a" / "log.txt").read_text().split("\n")[:2] == [
        "from another process",
        "from Python",
    ]
    assert capfd.readouterr().out == "outside\n"
