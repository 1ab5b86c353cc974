"""Short studies, an executor whose runs end at once, and a judge that takes its time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import optuna
import pytest

from darts.config import compose
from darts.hpo import supervisor
from darts.hpo.config_checks import check_config
from darts.hpo.study import StudyPlan, make_plan
from darts.hpo.trials import trial_state
from darts.reading import JsonObject
from darts.running.jobs import Executor, Future, Job, Outcome
from darts.strategies.judges import Judge, JudgeTools, TrialSpec

SHORT = (
    *("dataset=synthetic", "dataset.samples=48", "genotype=DARTS_V2", "loader.batch_size=8"),
    *("space.channels=2", "space.cells=1", "epochs=2", "budget.trials=4"),
    "parameters.optimizer.lr={low: 0.01, high: 0.1, log: true}",
)
"""The overrides of a study whose trials train for about a second."""


def planned(folder: Path, *overrides: str) -> StudyPlan:
    """Check and plan a study, given its command line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config: Any = compose("tune", [*overrides])
    check_config(config)
    return make_plan(config, folder / "study")


class FakeRuns(Executor):
    """Ends each run when it is submitted, for studies with two workers.

    ``result`` returns the summary of a job; what it raises ends the future.
    """

    workers, threads = 2, 1

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


def begun_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that have a point; others are free places in the queue."""
    return [trial for trial in study.trials if trial.params]


def table_of(plan: StudyPlan) -> list[tuple[str, dict[str, Any], Any]]:
    """Return state, point and scores of the trials of a study."""
    trials = begun_trials(plan.open(existing=True))
    return [(trial_state(trial), trial.params, trial.values) for trial in trials]


# Overrides of studies that this judge can score: two numbers, and more.
NUMBERS = (
    "dataset=synthetic",
    "genotype=DARTS_V2",
    "parameters.optimizer.lr={low: 0.001, high: 0.9, log: true}",
    "parameters.loader.batch_size={low: 2, high: 40}",
)
SPACE = (
    *NUMBERS,
    "parameters.selection=[best, last]",
    "parameters.average_power={low: 1.5, high: 8.5, when: {selection: last}}",
)


@dataclass
class SlowJudge(Judge):
    """Scores a point by a formula after a pause.

    Attributes:
        pause_seed: Seed of the lengths of the pauses.
        seconds: Longest pause per epoch.
        epochs: Number of epochs of a trial; it reports a score after each of them.
        at_once: The first trials wait until this many have begun, so this many workers get a trial.
    """

    name: str = "train"
    pause_seed: int = 0
    seconds: float = 0.02
    epochs: int = 1
    at_once: int = 1
    trains: ClassVar[bool] = False

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        values = dict(override.split("=", 1) for override in trial.overrides)
        rate, size = math.log10(float(values["optimizer.lr"])), int(values["loader.batch_size"])
        random = Random(f"{self.pause_seed} {trial.directory.name}")
        best = 1 - abs(rate + 1.5) / 3 - abs(size - 20) / 100
        self._wait_for_others(trial)
        score = 0.0
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.seconds * random.random())
            score = best * (1 - 1 / (1 + epoch))
            trial.on_epoch(epoch, {"accuracy": score})
        return {"valid_accuracy": score}

    def _wait_for_others(self, trial: TrialSpec) -> None:
        """Wait until ``at_once`` trials have begun; record the thread of this one."""
        folder = trial.directory.parent / "begun"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / trial.directory.name).write_text(threading.current_thread().name)
        end = time.monotonic() + 60
        while len(list(folder.iterdir())) < self.at_once and time.monotonic() < end:
            time.sleep(0.01)
