"""Workers: every trial runs once, none is lost, and every failure is recorded."""

from __future__ import annotations

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
from slow_judge import SPACE, FullDiskJudge

from darts.hpo import supervisor as supervisors
from darts.hpo.queue import is_over
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import MACHINE_FAILED, Supervisor, worker_main
from darts.hpo.trials import counted_trials, failure_reason, trial_scores
from darts.judging.devices.latency_model import LinearModel
from darts.running.execution import redirect_output
from darts.strategies.history import RETRIED
from darts.strategies.strategy import suggest_point
from darts.writing import WriteError

# These tests act as a worker, without its heartbeat thread.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

TABLE = ("experiment=nas201_table", "strategy=random")


def ignore(trial: Any) -> None:
    """Do nothing."""


def run(plan: StudyPlan) -> list[Any]:
    study = plan.open()
    Supervisor(plan, study, ignore).run()
    return list(study.trials)


def test_the_study_stops_at_the_budget_of_trials(
    planned: Callable[..., StudyPlan], table: Path
) -> None:
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=12")
    trials = run(plan)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 12
    assert all(trial_scores(t)["valid_accuracy"] == t.values[0] for t in trials)
    assert is_over(plan, trials)


@pytest.mark.slow
def test_the_trial_of_a_killed_worker_is_repeated(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    """After SIGKILL, the failure is recorded and the same point is evaluated again."""
    plan = planned(*short, "budget.trials=2", "workers=1")
    study = plan.open()
    supervisor = Supervisor(plan, study, ignore)
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
    assert failure_reason(lost) == "its worker was killed by SIGKILL (out of memory?)"
    (again,) = [trial for trial in trials if RETRIED in trial.system_attrs]
    assert again.params == lost.params
    assert again.state == TrialState.COMPLETE
    assert len(counted_trials(trials)) == 2
    assert all(trial.state == TrialState.COMPLETE for trial in counted_trials(trials))


@pytest.mark.slow
def test_a_trial_whose_heartbeat_stops_is_lost(
    planned: Callable[..., StudyPlan], table: Path
) -> None:
    """The trial looks like one of another machine, whose process no supervisor here can observe."""
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=2", "heartbeat=1")
    study = plan.open()
    elsewhere = study.ask()
    suggest_point(elsewhere, plan.space.parameters)
    study._storage.record_heartbeat(elsewhere._trial_id)  # type: ignore[attr-defined]
    begin = time.monotonic()
    Supervisor(plan, study, ignore).run()
    assert 1 < time.monotonic() - begin < 20
    trials = study.trials
    assert trials[elsewhere.number].state == TrialState.FAIL
    assert failure_reason(trials[elsewhere.number]) == "its worker sends no heartbeats"
    assert [t.state for t in counted_trials(trials)] == [TrialState.COMPLETE] * 2
    assert trials[-1].params == trials[elsewhere.number].params


class FailingJudge:
    """A judge that fails in the ways in which trainings fail."""

    name = "train"
    trains = False
    needs_genotype = False

    def __call__(self, trial: Any, tools: Any) -> dict[str, Any]:
        number = int(trial.directory.name)
        if number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if number == 2:
            raise FloatingPointError("the loss is nan\nin epoch 3")
        if number == 3:
            return {"valid_accuracy": float("nan")}
        if number == 4:
            raise MemoryError
        return {"valid_accuracy": 0.5}


def test_failures_are_recorded_and_the_study_continues(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    plan = planned(*short, "budget.trials=6", "workers=0")
    plan.config.judge = FailingJudge()  # type: ignore[assignment]
    trials = run(plan)
    failed, fine = TrialState.FAIL, TrialState.COMPLETE
    assert [trial.state for trial in trials] == [fine, failed, failed, failed, failed, fine]
    assert [failure_reason(trial) for trial in trials[1:5]] == [
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB",
        "FloatingPointError: the loss is nan in epoch 3",
        "ValueError: valid_accuracy=nan: must be finite",
        "out of memory: ",
    ]


def test_a_study_ends_if_its_first_trials_all_fail(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    plan = planned(*short, "budget.trials=20", "workers=0")

    class Broken(FailingJudge):
        def __call__(self, trial: Any, tools: Any) -> dict[str, Any]:
            raise RuntimeError("no such operator")

    plan.config.judge = Broken()  # type: ignore[assignment]
    study = plan.open()
    line = "the first 3 trials all failed; trial 0: RuntimeError: no such operator"
    with pytest.raises(ValueError, match=line):
        Supervisor(plan, study, ignore).run()
    assert len(study.trials) == 3


def test_a_missing_score_fails_the_trial(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    """For example a metric that needs more classes than the data set has."""
    plan = planned(*short, "budget.trials=1", "workers=0", "metric=top5_accuracy")
    plan.config.judge = FailingJudge()  # type: ignore[assignment]
    (trial,) = run(plan)
    assert failure_reason(trial) == (
        "ValueError: judge=train returned no valid_top5_accuracy, only valid_accuracy"
    )


@pytest.mark.slow
def test_pruned_trials_end_early(planned: Callable[..., StudyPlan], short: list[str]) -> None:
    """Successive halving ends some trials before their last epoch."""
    plan = planned(
        *short,
        "budget.trials=6",
        "pruner=halving",
        "pruner.factor=2",
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


def test_a_stopped_worker_requeues_its_trial(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    """After SIGTERM, the trial waits in the queue, even with retries=0."""
    plan = planned(*short, "budget.trials=2", "workers=0", "retries=0", "epochs=400")
    study = plan.open()

    def stop() -> None:
        while not list(plan.directory.glob("trials/0000/metrics.jsonl")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert Supervisor(plan, study, ignore).run() == signal.SIGTERM
    first, second = study.trials
    assert first.state == TrialState.FAIL
    assert failure_reason(first) == "its worker was stopped"
    assert (second.state, second.params) == (TrialState.WAITING, first.params)


def test_a_predicted_latency_can_be_an_objective(
    planned: Callable[..., StudyPlan], table: Path, tmp_path: Path
) -> None:
    model = LinearModel(
        "nas201", "phone", "ridge", "operations", 1.0, {"count.cell.nor_conv_3x3": 2.0}, []
    )
    model.save(tmp_path / "phone.json")
    plan = planned(
        *TABLE,
        f"benchmark.table={table}",
        "budget.trials=4",
        "costs=[latency_ms]",
        "limit.latency_ms=100",
        f"limit.device={tmp_path / 'phone.json'}",
    )
    for trial in run(plan):
        genotype = plan.space.genotype(dict(trial.params))
        assert genotype is not None
        assert trial.values[1] == 1 + 2 * genotype.count("nor_conv_3x3")


def test_a_deadline_of_zero_has_passed(
    planned: Callable[..., StudyPlan], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock may start at 0 with the machine, and 0.0 is not the same as no deadline."""
    plan = planned(*TABLE, f"benchmark.table={table}", "budget.trials=2")
    study = plan.open()
    monkeypatch.setattr(supervisors, "exit_with_parent", lambda: None)
    monkeypatch.setattr(supervisors, "round_robin_gpu", lambda number: {})
    worker_main(plan, "name", 0, None, 0.0)
    assert study.trials == []
    worker_main(plan, "name", 0, None, None)
    assert len(study.trials) == 2


@pytest.mark.slow
def test_a_worker_that_cannot_write_exits_with_code_4(planned: Callable[..., StudyPlan]) -> None:
    """The study ends in one line, and the trial waits in the queue, even with retries=0."""
    plan = planned(*SPACE, "budget.trials=2", "workers=1", "retries=0")
    plan.config.judge = FullDiskJudge()
    study = plan.open()
    supervisor = Supervisor(plan, study, ignore)
    processes: set[Any] = set()
    log = plan.directory / "workers" / "0.log"
    with pytest.raises(WriteError) as caught:
        supervisor.run(
            lambda _: processes.update(process for _, process in supervisor._workers.values())
        )
    assert str(caught.value) == f"worker 0 could not write; see {log}"
    assert [process.exitcode for process in processes] == [MACHINE_FAILED] == [4]
    assert log.read_text() == "metrics.jsonl: No space left on device\n"
    first, second = study.trials
    assert failure_reason(first) == "its worker could not write"
    assert (second.state, second.params) == (TrialState.WAITING, first.params)


def test_output_of_python_and_child_processes_goes_to_the_log(tmp_path: Path, capfd: Any) -> None:
    with redirect_output(tmp_path / "a" / "log.txt"):
        os.system("echo from another process")
        print("from Python")
    print("outside")
    assert (tmp_path / "a" / "log.txt").read_text().split("\n")[:2] == [
        "from another process",
        "from Python",
    ]
    assert capfd.readouterr().out == "outside\n"
