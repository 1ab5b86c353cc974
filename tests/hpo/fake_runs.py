"""Short studies, and an executor whose runs end at once, with summaries that a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from darts.hpo import supervisor
from darts.hpo.study import StudyPlan
from darts.hpo.trials import counted_trials, trial_state
from darts.reading import JsonObject
from darts.running.jobs import Executor, Future, Job, Outcome

Planned = Callable[..., StudyPlan]
"""The function that the fixture ``planned`` returns."""

SHORT = (
    *("dataset=synthetic", "dataset.samples=48", "genotype=DARTS_V2", "loader.batch_size=8"),
    *("space.channels=2", "space.cells=1", "epochs=2", "budget.trials=4"),
    "parameters.optimizer.lr={low: 0.01, high: 0.1, log: true}",
)
"""The overrides of a study whose trials train for about a second."""


class FakeRuns(Executor):
    """Ends each run when it is submitted, for studies with two workers.

    ``result`` returns the summary of a job; what it raises ends the future.
    """

    workers, threads, blocks = 2, 1, False

    def __init__(self, result: Callable[[Job], JsonObject]) -> None:
        self._result = result
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> Future:
        self.jobs.append(job)
        future = Future(job)
        try:
            future.set_result(Outcome(self._result(job)))
        except Exception as error:
            future.set_exception(error)
        return future

    def replace_executors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of the executors of all studies."""
        monkeypatch.setattr(supervisor, "make_executor", lambda *_: self)


def rate_of(job: Job) -> float:
    """Return the learning rate of a run; 0 stands for the default."""
    values = dict(override.split("=", 1) for override in job.overrides)
    return float(values.get("optimizer.lr", 0))


def score(job: Job) -> JsonObject:
    """Return a summary whose score depends on the learning rate."""
    return {"valid_accuracy": rate_of(job), "valid_loss": -rate_of(job)}


def ignore(trial: Any) -> None:
    """Do nothing."""


def table_of(plan: StudyPlan) -> list[tuple[str, dict[str, Any], Any]]:
    """Return state, point and scores of the trials of a study."""
    trials = counted_trials(plan.open(existing=True).trials)
    return [(trial_state(trial), trial.params, trial.values) for trial in trials]
