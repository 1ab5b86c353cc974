"""The factorial design after a study."""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import Any

import pytest
from fake_runs import SHORT, FakeRuns, Planned, ignore, rate_of, score

from darts.hpo.analysis import analyze
from darts.hpo.result_files import total_energy
from darts.hpo.study import best_trial
from darts.hpo.supervisor import Supervisor
from darts.running.jobs import Job
from darts.training.interrupt import Interrupted
from darts.writing import write_json

DESIGN = (
    *("analysis.factorial_seeds=1", "analysis.retrain_best=false", "tracking.figures=false"),
    *("strategy=random", "workers=2"),
)


def test_each_best_trial_has_a_factorial_design_of_its_own(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that is resumed with a larger budget finds a better point."""

    def run(job: Job) -> dict[str, Any]:
        summary = {"joules": 1.0, "joules_source": "estimate", "gco2e": 0.0}
        summary["valid_accuracy"] = float(job.directory.name)  # each trial is better
        write_json(job.directory / "summary.json", summary)
        return summary

    executor = FakeRuns(run)
    executor.replace_executors(monkeypatch)
    plan = planned(*SHORT, *DESIGN)
    study, folders = plan.open(), []
    for budget in (1, 2):
        plan = dataclasses.replace(plan, max_trials=budget)
        Supervisor(plan, study, ignore).run()
        best = best_trial(plan, study.trials)
        assert best is not None
        assert best.number == budget - 1
        executor.jobs.clear()
        analyze(plan, study)
        assert {rate_of(job) for job in executor.jobs} == {0, best.params["optimizer.lr"]}
        folders += [job.directory for job in executor.jobs]
    assert len(set(folders)) == len(folders) == 4
    assert total_energy(plan, study.trials)["joules"] == 2 + 4


def test_a_signal_during_the_factorial_design_ends_the_analysis(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(*SHORT, *DESIGN, "budget.trials=1")
    study = plan.open()
    FakeRuns(score).replace_executors(monkeypatch)
    Supervisor(plan, study, ignore).run()

    def interrupt(job: Job) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return score(job)

    FakeRuns(interrupt).replace_executors(monkeypatch)
    with pytest.raises(Interrupted, match="143"):
        analyze(plan, study)
    assert not (plan.directory / "analysis.json").exists()
    FakeRuns(score).replace_executors(monkeypatch)
    assert "gain_hyperparameters" in analyze(plan, study)
