"""Supervisors and workers: no trial is lost, and every failure is recorded."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from fake_runs import SHORT, FakeRuns, begun_trials, ignore, planned, score, table_of
from optuna.trial import TrialState

from darts.hpo import supervisor as supervisors
from darts.hpo import worker as workers
from darts.hpo.queue import claim_trial
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import failure_reason, finished_trials, trial_state
from darts.judging.devices.latency_model import LinearModel
from darts.running.jobs import ExecutorError, Future, Job

# These tests act as a worker, without its heartbeat thread.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


def test_an_error_of_the_executor_is_not_charged_to_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the study ends like this, its points are evaluated later."""
    plan = planned(tmp_path, *SHORT, "retries=0", "workers=2")
    whole = dataclasses.replace(plan, storage=f"sqlite:///{tmp_path / 'whole.db'}")
    FakeRuns(score).replace_executors(monkeypatch)
    Supervisor(whole, whole.open(), ignore).run()
    study = plan.open()
    FakeRuns(Mock(side_effect=ExecutorError("no worker starts"))).replace_executors(monkeypatch)
    for _ in range(2):
        with pytest.raises(ExecutorError, match="no worker starts"):
            Supervisor(plan, study, ignore).run()
    assert finished_trials(study.trials) == []
    FakeRuns(score).replace_executors(monkeypatch)
    assert Supervisor(plan, study, ignore).run() == 0
    assert table_of(plan) == table_of(whole)
    assert {state for state, *_ in table_of(plan)} == {"complete"}


class Closing(FakeRuns):
    """Cancels runs that are submitted after the end of its context, as all executors do."""

    def __init__(self) -> None:
        super().__init__(score)
        self.closed = threading.Event()

    def submit(self, job: Job) -> Future:
        if not self.closed.is_set():
            return super().submit(job)
        future = Future(job)
        future.set_exception(CancelledError())
        return future

    def __exit__(self, *error: object) -> None:
        self.closed.set()


def test_a_trial_whose_point_is_proposed_at_the_end_waits_for_the_resumed_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal arrives while a thread computes a proposal, and the executor ends first."""
    plan = planned(tmp_path, *SHORT, "workers=2")
    study, executor, propose = plan.open(), Closing(), workers.suggest_point
    executor.replace_executors(monkeypatch)

    def propose_slowly(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        executor.closed.wait(30)
        return propose(*arguments)

    monkeypatch.setattr(workers, "suggest_point", propose_slowly)
    assert Supervisor(plan, study, ignore).run() == signal.SIGTERM
    assert executor.jobs == []
    (trial,) = begun_trials(study)
    assert trial_state(trial) == "waiting"


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, *SHORT, "workers=2")
    FakeRuns(score).replace_executors(monkeypatch)
    release = threading.Event()

    def block(*_: object) -> None:
        release.wait(60)
        raise CancelledError

    interrupt = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr(workers, "suggest_point", block)
    monkeypatch.setattr(supervisors, "_PATIENCE", 0.1)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            Supervisor(plan, plan.open(), ignore).run(interrupt)
        assert time.monotonic() - start < 20
    finally:
        release.set()


@pytest.mark.parametrize(("metric", "worst"), [("accuracy", -float("inf")), ("loss", float("inf"))])
def test_an_infinite_or_undefined_score_is_the_worst_for_a_pruner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, worst: float
) -> None:
    """The rows of a run have null for both. An epoch without a score says nothing."""

    def write_rows(job: Job) -> dict[str, Any]:
        job.directory.mkdir(parents=True)
        scores = ("null", "0.25")
        lines = [f'{{"epoch": {n}, "valid_{metric}": {v}}}' for n, v in enumerate(scores, 1)]
        lines.append('{"epoch": 3}')
        (job.directory / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        return score(job)

    plan = planned(tmp_path, *SHORT, f"metric={metric}", "budget.trials=1", "workers=2")
    FakeRuns(write_rows).replace_executors(monkeypatch)
    study = plan.open()
    Supervisor(plan, study, ignore).run()
    assert study.trials[0].intermediate_values == {1: worst, 2: 0.25}


def test_running_trials_of_a_killed_command_start_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else uses the database in the run directory, and kills are no attempts."""
    plan = planned(tmp_path, *SHORT, "retries=0", "workers=2", "heartbeat=3600")
    FakeRuns(score).replace_executors(monkeypatch)
    study = plan.open()
    for _ in range(2):  # the command is killed twice
        claim_trial(plan, study, study.get_trials(deepcopy=False), 2)
        with monkeypatch.context() as patch:
            patch.setattr(Supervisor, "_run_in_threads", lambda *_: None)
            Supervisor(plan, study, ignore).run()
    assert Supervisor(plan, study, ignore).run() == 0
    assert [trial_state(trial) for trial in begun_trials(study)] == ["complete"] * 4


def test_running_trials_in_a_shared_database_belong_to_other_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"storage=sqlite:///{tmp_path / 'shared.db'}"
    plan = planned(tmp_path, *SHORT, storage, "workers=2", "window=2", "strategy=random")
    FakeRuns(score).replace_executors(monkeypatch)
    study = plan.open()
    claimed = claim_trial(plan, study, [], 2)
    assert claimed is not None
    Supervisor(plan, study, ignore, deadline=time.monotonic() + 0.3).run()
    assert trial_state(study.trials[claimed.number]) == "running"


def run(plan: StudyPlan) -> list[Any]:
    study = plan.open()
    Supervisor(plan, study, ignore).run()
    return list(study.trials)


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
        if number == 5:
            return {"valid_accuracy": None}  # as in the summary of a run
        return {"valid_accuracy": 0.5}


def test_a_study_survives_failures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = planned(tmp_path, *SHORT, "budget.trials=7", "executor=inline")
    plan.config.judge = FailingJudge()  # type: ignore[assignment]
    trials = run(plan)
    failed, fine = TrialState.FAIL, TrialState.COMPLETE
    assert [trial.state for trial in trials] == [fine, *[failed] * 5, fine]
    assert [failure_reason(trial) for trial in trials[1:6]] == [
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB",
        "FloatingPointError: the loss is nan in epoch 3",
        "ValueError: valid_accuracy=nan: must be finite",
        "out of memory: ",
        "ValueError: valid_accuracy=nan: must be finite",
    ]
    log = plan.directory / "trials" / "0002.log"
    assert "Traceback" in log.read_text()
    assert "Traceback" not in capfd.readouterr().err


def test_a_study_ends_if_its_first_trials_all_fail(tmp_path: Path) -> None:
    plan = planned(tmp_path, *SHORT, "budget.trials=20", "executor=inline")

    class Broken(FailingJudge):
        def __call__(self, trial: Any, tools: Any) -> dict[str, Any]:
            raise RuntimeError("no such operator")

    plan.config.judge = Broken()  # type: ignore[assignment]
    study = plan.open()
    line = "the first 3 trials all failed; trial 0: RuntimeError: no such operator"
    with pytest.raises(ValueError, match=line):
        Supervisor(plan, study, ignore).run()
    assert len(study.trials) == 3


def test_a_missing_score_fails_the_trial(tmp_path: Path) -> None:
    """For example a metric that needs more classes than the data set has."""
    plan = planned(tmp_path, *SHORT, "budget.trials=1", "executor=inline", "metric=top5_accuracy")
    plan.config.judge = FailingJudge()  # type: ignore[assignment]
    (trial,) = run(plan)
    assert failure_reason(trial) == (
        "ValueError: judge=train returned no valid_top5_accuracy, only valid_accuracy"
    )


def test_a_predicted_latency_can_be_an_objective(table: Path, tmp_path: Path) -> None:
    weights = {"count.cell.nor_conv_3x3": 2.0}
    model = LinearModel("nas201", "phone", "ridge", "operations", 1.0, weights, [])
    model.save(tmp_path / "phone.json")
    limit = ("limit.latency_ms=100", f"limit.device={tmp_path / 'phone.json'}")
    words = ("experiment=nas201_table", "strategy=random", f"benchmark.table={table}")
    plan = planned(tmp_path, *words, "budget.trials=4", "costs=[latency_ms]", *limit)
    for trial in run(plan):
        genotype = plan.space.genotype(dict(trial.params))
        assert trial.values[1] == 1 + 2 * genotype.count("nor_conv_3x3")
