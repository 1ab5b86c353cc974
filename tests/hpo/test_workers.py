"""Workers: every trial runs once, none is lost, and every failure is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_runs import SHORT, Planned, ignore
from optuna.trial import TrialState

from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import failure_reason
from darts.judging.devices.latency_model import LinearModel

# These tests act as a worker, without its heartbeat thread.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

TABLE = ("experiment=nas201_table", "strategy=random")


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


def test_failures_are_recorded_and_the_study_continues(
    planned: Planned, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = planned(*SHORT, "budget.trials=7", "executor=inline")
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


def test_a_study_ends_if_its_first_trials_all_fail(planned: Planned) -> None:
    plan = planned(*SHORT, "budget.trials=20", "executor=inline")

    class Broken(FailingJudge):
        def __call__(self, trial: Any, tools: Any) -> dict[str, Any]:
            raise RuntimeError("no such operator")

    plan.config.judge = Broken()  # type: ignore[assignment]
    study = plan.open()
    line = "the first 3 trials all failed; trial 0: RuntimeError: no such operator"
    with pytest.raises(ValueError, match=line):
        Supervisor(plan, study, ignore).run()
    assert len(study.trials) == 3


def test_a_missing_score_fails_the_trial(planned: Planned) -> None:
    """For example a metric that needs more classes than the data set has."""
    plan = planned(*SHORT, "budget.trials=1", "executor=inline", "metric=top5_accuracy")
    plan.config.judge = FailingJudge()  # type: ignore[assignment]
    (trial,) = run(plan)
    assert failure_reason(trial) == (
        "ValueError: judge=train returned no valid_top5_accuracy, only valid_accuracy"
    )


def test_a_predicted_latency_can_be_an_objective(
    planned: Planned, table: Path, tmp_path: Path
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
        assert trial.values[1] == 1 + 2 * genotype.count("nor_conv_3x3")
