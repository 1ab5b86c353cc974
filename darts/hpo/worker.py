"""A worker: a process that evaluates trials until the study has enough of them.

A trial that diverges, runs out of memory or raises an error is recorded as failed with its reason,
and the worker continues. A worker that receives SIGTERM puts its trial back into the queue. The
supervisor detects the death of its own workers; missing heartbeats reveal the death of a worker on
another machine.
"""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

import optuna
import torch
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.store import fail_and_requeue, trials_without_heartbeat
from darts.hpo.study import StudyPlan, suggest_point
from darts.hpo.trial_tools import TrialTools
from darts.hpo.trials import FAILURE, SCORES, WORKER, finished_trials, retry_history, trial_results
from darts.spaces.parameters import Point
from darts.strategies.judges import EpochCallback, TrialSpec
from darts.strategies.point_sampler import RETRIED, SURPLUS, trial_position
from darts.strategies.strategy import silence_optuna_warnings
from darts.tracking.ledger import common_source
from darts.training.device import round_robin_gpu
from darts.training.interrupt import Interrupt

MAX_INITIAL_FAILURES = 3  # the study ends if its first trials, at least this many, all failed

SETTINGS = ("epochs", "seed", "ranks")  # numbers in a summary that are settings, not results


class TrialFailed(Exception):
    """Raised to make Optuna record a trial as failed."""


def worker_main(
    plan: StudyPlan, name: str, number: int, threads: int | None, deadline: float | None
) -> None:
    """Evaluate trials of a study: the main function of a worker's process.

    Args:
        plan: Plan of the study.
        name: Unique name of the worker, stored in its trials.
        number: Number of the worker on this machine, from 0.
        threads: Number of threads of PyTorch; None for PyTorch's default.
        deadline: Unix time in seconds after which no trial starts; None for no limit.
    """
    os.environ.update(round_robin_gpu(number))  # before CUDA is initialized in this process
    if threads is not None:
        torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _exit_with_supervisor()
    log = plan.directory / "workers" / f"{number}.log"
    with redirect_output(log), Interrupt() as interrupt:
        worker = Worker(plan, plan.open(number), name)
        while not interrupt.received and not (deadline and time.time() >= deadline):
            if not worker.step():
                break


def initial_failures(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished trials if they all failed and are at least ``MAX_INITIAL_FAILURES``.

    Otherwise return [].
    """
    finished = finished_trials(trials)
    failed = all(trial.state == TrialState.FAIL for trial in finished)
    return finished if failed and len(finished) >= MAX_INITIAL_FAILURES else []


def next_action(plan: StudyPlan, trials: list[FrozenTrial]) -> Literal["run", "wait", "stop"]:
    """Return whether to run another trial, wait for running trials, or stop."""
    states = [trial.state for trial in trials]
    if initial_failures(trials):
        return "stop"
    if TrialState.WAITING in states:
        return "run"
    if plan.max_trials is None or trial_position(len(trials), trials) < plan.max_trials:
        return "run"
    return "wait" if TrialState.RUNNING in states else "stop"


class Worker:
    """Evaluates trials of a study, one after the other.

    Args:
        plan: Plan of the study.
        study: The study, opened by this process.
        name: Unique name of the worker, stored in its trials.
    """

    def __init__(self, plan: StudyPlan, study: Study, name: str) -> None:
        self.plan, self.study, self.name = plan, study, name
        self.tools = TrialTools(plan.config)

    def step(self) -> bool:
        """Evaluate a trial, or wait briefly for other workers; return False to stop."""
        trials = self.study.get_trials(deepcopy=False)
        action = next_action(self.plan, trials)
        if action == "wait":  # a running trial may get lost, and is then queued again
            time.sleep(0.5)
            for trial in trials_without_heartbeat(self.study, trials, self.plan.config.heartbeat):
                reason = "its worker sends no heartbeats"
                fail_and_requeue(self.study, trial, reason, self.plan.config.retries)
            with silence_optuna_warnings():
                optuna.storages.fail_stale_trials(self.study)
        elif action == "run":
            self.study.optimize(self, n_trials=1, catch=(TrialFailed,))
            if self.plan.config.judge.trains:
                gc.collect()  # networks in reference cycles would occupy memory in the next trial
        return action != "stop"

    def __call__(self, trial: optuna.Trial) -> list[float]:
        """Evaluate a trial; the objective function for Optuna."""
        trial.set_user_attr(WORKER, self.name)
        if not self._is_within_budget(trial):
            trial.set_user_attr(SURPLUS, True)
            raise TrialFailed
        directory = self.plan.directory / "trials" / f"{trial.number:04d}"
        trains = self.plan.config.judge.trains
        log = redirect_output(directory / "log.txt") if trains else contextlib.nullcontext()
        with log:
            return self._evaluate_and_record(trial, directory)

    def _is_within_budget(self, trial: optuna.Trial) -> bool:
        """Return False if other workers have already started all trials of the budget."""
        limit = self.plan.max_trials
        if limit is None or RETRIED in self._frozen(trial).system_attrs:
            return True
        return trial_position(trial.number, self.study.get_trials(deepcopy=False)) < limit

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        """Return a trial as it is stored in the database."""
        return self.study._storage.get_trial(trial._trial_id)

    def _evaluate_and_record(self, trial: optuna.Trial, directory: Path) -> list[float]:
        """Return the values of the objectives, or record why there are none and raise."""
        try:
            return self._evaluate(trial, directory)
        except optuna.TrialPruned:
            raise
        except SystemExit:  # after a signal; the training has saved its checkpoint
            frozen = self._frozen(trial)
            retries = len(retry_history(frozen)) + 1  # a stop is not a failure
            fail_and_requeue(self.study, frozen, "its worker was stopped", retries=retries)
            raise
        except Exception as error:
            trial.set_user_attr(FAILURE, error_summary(error))
            raise TrialFailed from error
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _evaluate(self, trial: optuna.Trial, directory: Path) -> list[float]:
        """Score the trial's point, store all scores, and return the values of the objectives."""
        plan = self.plan
        point = suggest_point(trial, plan.space.parameters)
        on_epoch = self._pruning_callback(trial, point)
        spec = TrialSpec(plan.overrides(point), plan.space.genotype(point), directory, on_epoch)
        results = plan.config.judge(spec, self.tools)
        scores = {
            name: value
            for name, value in results.items()
            if isinstance(value, (int, float))
            and not isinstance(value, bool)
            and name not in SETTINGS
        }
        required = [*plan.objectives, *plan.config.limits]
        missing = [name for name in required if name not in scores]
        if plan.score in missing:
            available = ", ".join(name for name in scores if name.startswith("valid_"))
            raise ValueError(
                f"judge={plan.config.judge.name} returned no {plan.score}, only "
                f"{available or 'nothing'}"
            )
        if missing:
            scores |= self.tools.network_costs(spec, missing)
        if {"joules", "gco2e"} & set(required):
            self._require_common_source(str(results["joules_source"]))
        source = {name: text for name, text in results.items() if name == "joules_source"}
        trial.set_user_attr(SCORES, {**scores, **source})
        values = [float(scores[name]) for name in plan.objectives]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{plan.score}={values[0]}: must be finite")
        return values

    def _pruning_callback(self, trial: optuna.Trial, point: Point) -> EpochCallback:
        """Return a callback that reports each epoch to the pruner, which may end the trial."""
        plan = self.plan
        epochs = int(str(point.get("epochs", plan.epochs)))

        def on_epoch(epoch: int, scores: Mapping[str, float]) -> None:
            value = scores.get(plan.config.metric, math.nan)
            if len(plan.objectives) > 1 or math.isnan(value):
                return
            trial.report(value, epoch)
            # After the last epoch, pruning saves nothing.
            if epoch < epochs and trial.should_prune():
                raise optuna.TrialPruned(f"pruned at epoch {epoch}")

        return on_epoch

    def _require_common_source(self, source: str) -> None:
        """Raise ``ValueError`` if another trial's joules come from a different source."""
        for trial in self.study.get_trials(deepcopy=False):
            other = trial_results(trial).get("joules_source", source)
            if common_source([source, other]) is None:
                raise ValueError(
                    f"joules cannot be compared: they come from {source} here and from {other} "
                    f"in trial {trial.number}"
                )


def error_summary(error: BaseException) -> str:
    """Return an error in one line, and print its traceback, which goes to the trial's log."""
    traceback.print_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text.lower():
        return f"out of memory: {text[:200]}"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


@contextlib.contextmanager
def redirect_output(file: Path) -> Iterator[None]:
    """Append stdout and stderr to a file, including those of libraries and child processes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    # With line buffering, the file contains the last lines of a killed worker.
    with file.open("a", encoding="utf-8", buffering=1) as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            for number, descriptor in zip((1, 2), saved, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def _exit_with_supervisor() -> None:
    """Send SIGTERM to this process when its supervisor ends, even if it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()
