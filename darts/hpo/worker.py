"""A worker: a process that evaluates one trial after the other until the study has enough.

Whatever happens to a trial is a result: one that diverges, runs out of memory or raises is recorded
as failed with its reason, and the worker goes on. A worker that is asked to leave hands its trial
back, and one that is killed is missed by its supervisor, or by its heartbeat on another machine.
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
import warnings
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.store import FAILURE, counted, give_up, never_alive
from darts.hpo.study import SCORES, WORKER, Plan, scores_of, suggested
from darts.hpo.tools import TrialTools
from darts.strategies.judge import Candidate
from darts.strategies.strategy import RETRIED, SURPLUS, place_of
from darts.tracking.ledger import common_source
from darts.training.device import gpu_in_turn
from darts.training.interrupt import Interrupt

HOPELESS = 3
"""If so many trials have ended and all of them failed, there is something wrong with the study."""

SETTINGS = ("epochs", "seed", "ranks")
"""Numbers of a summary that are no results."""


class TrialFailed(Exception):
    """Raised out of a trial that is recorded as failed."""


def work(plan: Plan, name: str, number: int, threads: int | None, deadline: float | None) -> None:
    """Evaluate trials; the main function of a worker's process.

    Args:
        plan: of the study.
        name: by which it signs its trials.
        number: of the worker on this machine, from 0.
        threads: of PyTorch; None for as many as the environment says.
        deadline: when to begin no more trials, in seconds since the epoch.
    """
    _take_a_gpu(number)
    if threads is not None:
        torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _leave_with_the_supervisor()
    with told_to(plan.directory / "workers" / f"{number}.log"), Interrupt() as interrupt:
        worker = Worker(plan, plan.open(number), name)
        while not interrupt.received and not (deadline and time.time() >= deadline):
            if not worker.step():
                break


def needed(plan: Plan, trials: list[FrozenTrial]) -> str:
    """Whether another trial is to begin: "one", "wait" until others end, or "no more"."""
    states = [trial.state for trial in trials]
    ended = [trial for trial in counted(trials) if trial.state.is_finished()]
    if len(ended) >= HOPELESS and all(trial.state == TrialState.FAIL for trial in ended):
        return "no more"
    if TrialState.WAITING in states:
        return "one"
    if plan.trials is None or place_of(len(trials), trials) < plan.trials:
        return "one"
    return "wait" if TrialState.RUNNING in states else "no more"


class Worker:
    """Evaluates trials of a study, one by one.

    Args:
        plan: of the study.
        study: opened by this process.
        name: by which its trials are signed.
    """

    def __init__(self, plan: Plan, study: Study, name: str) -> None:
        self.plan = plan
        self.study = study
        self.name = name
        self.tools = TrialTools(plan.config)

    def step(self) -> bool:
        """Evaluate a trial, or wait a moment for those of others; False if no more is needed."""
        trials = self.study.get_trials(deepcopy=False)
        need = needed(self.plan, trials)
        if need == "wait":  # they may yet be lost
            time.sleep(0.5)
            for trial in never_alive(self.study, trials, self.plan.config.heartbeat):
                give_up(self.study, trial, "its worker is gone", self.plan.config.retries)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self.study)
        elif need == "one":
            self.study.optimize(self, n_trials=1, catch=(TrialFailed,))
            if self.plan.config.evaluation.trains:
                gc.collect()  # networks in cycles would keep their memory into the next trial
        return need != "no more"

    def __call__(self, trial: optuna.Trial) -> list[float]:
        trial.set_user_attr(WORKER, self.name)
        if self.plan.trials is not None and not self._has_place(trial):
            trial.set_user_attr(SURPLUS, True)
            raise TrialFailed
        directory = self.plan.directory / "trials" / f"{trial.number:04d}"
        log = directory / "log.txt" if self.plan.config.evaluation.trains else None
        with told_to(log):
            return self._recorded(trial, directory)

    def _recorded(self, trial: optuna.Trial, directory: Path) -> list[float]:
        """The values of a trial, or on record why there are none."""
        try:
            return self._evaluated(trial, directory)
        except optuna.TrialPruned:
            raise
        except SystemExit:  # asked to leave: the trial saved itself
            frozen = self.study._storage.get_trial(trial._trial_id)
            before = len(frozen.system_attrs.get("retry_history", ()))
            give_up(self.study, frozen, "its worker was stopped", retries=before + 1)
            raise
        except Exception as error:
            trial.set_user_attr(FAILURE, reason_of(error))
            raise TrialFailed from error
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _has_place(self, trial: optuna.Trial) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        if RETRIED in self.study._storage.get_trial(trial._trial_id).system_attrs:
            return True
        return place_of(trial.number, trials) < (self.plan.trials or 0)

    def _evaluated(self, trial: optuna.Trial, directory: Path) -> list[float]:
        plan = self.plan
        point = suggested(trial, plan.space)
        epochs = int(str(point.get("epochs", plan.epochs)))

        def watch(epoch: int, scores: Mapping[str, float]) -> None:
            value = scores.get(plan.config.metric, math.nan)
            if len(plan.objectives) > 1 or math.isnan(value):
                return
            trial.report(value, epoch)
            if epoch < epochs and trial.should_prune():  # at the end there is nothing to save
                raise optuna.TrialPruned(f"pruned at epoch {epoch}")

        candidate = Candidate(
            plan.overrides(point), plan.space.genotype(point), directory, watch=watch
        )
        found = plan.config.evaluation(candidate, self.tools)
        scores = {n: v for n, v in found.items() if _is_number(v) and n not in SETTINGS}
        wanted = [*plan.objectives, *plan.config.limits]
        missing = [name for name in wanted if name not in scores]
        if plan.score in missing:
            known = ", ".join(name for name in scores if name.startswith("valid_"))
            raise ValueError(f"evaluation={plan.config.evaluation.name} tells {known or 'nothing'}")
        if missing:
            scores |= self.tools.size(candidate, missing)
        if {"joules", "gco2e"} & set(wanted):
            self._require_one_source(str(found["joules_source"]))
        source = {k: v for k, v in found.items() if k == "joules_source"}  # beside their number
        trial.set_user_attr(SCORES, {**scores, **source})
        values = [float(scores[name]) for name in plan.objectives]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{plan.score}={values[0]} is no finite number")
        return values

    def _require_one_source(self, source: str) -> None:
        """Raise ``ValueError`` where joules would be compared with those of another source."""
        for trial in self.study.get_trials(deepcopy=False):
            other = scores_of(trial).get("joules_source", source)
            if common_source([source, other]) is None:
                raise ValueError(
                    f"its joules are of the source {source}, and those of trial {trial.number} of "
                    f"{other}: they do not compare"
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    traceback.print_exception(error)  # into the trial's log
    text = " ".join(str(error).split())
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text.lower():
        return f"out of memory: {text[:200]}"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


@contextlib.contextmanager
def told_to(file: Path | None) -> Iterator[None]:
    """Send what is printed, by whatever library, to the end of a file meanwhile."""
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    # Line by line: what a killed worker said last is what one wants to know.
    with file.open("a", encoding="utf-8", buffering=1) as log:
        try:
            os.dup2(log.fileno(), 1)  # for libraries and other processes
            os.dup2(log.fileno(), 2)
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            for place, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, place)
                os.close(descriptor)


def _take_a_gpu(number: int) -> None:
    """Spread the workers of a machine over its GPUs, before CUDA has begun in this process."""
    os.environ.update(gpu_in_turn(number))


def _leave_with_the_supervisor() -> None:
    """Ask this process to leave when the one that started it has gone, however that went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
