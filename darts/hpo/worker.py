"""A worker: evaluates trials, one after the other, until the study has enough of them.

A trial that diverges, runs out of memory or raises an error is recorded as failed with its reason,
and the worker continues. After a signal, a trial goes back into the queue, and its run continues
from its checkpoint later. Missing heartbeats reveal that the process of a worker has died. Then
another worker takes the trial over, and stores its name as the owner of the trial.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.queue import claim_trial, heartbeats, is_over, requeue, requeue_lost, stale_trials
from darts.hpo.store import machine_failure
from darts.hpo.study import StudyPlan, study_window
from darts.hpo.trial_tools import TrialTools
from darts.hpo.trials import BEYOND, FAILURE, OWNER, SCORES, WALL_SECONDS, trial_results
from darts.running.execution import error_summary
from darts.running.jobs import Executor, ExecutorError, RunFailed, log_file
from darts.spaces.parameters import Point
from darts.strategies.judges import EpochCallback, TrialSpec
from darts.strategies.snapshot import decide_pruning
from darts.strategies.strategy import suggest_point
from darts.tracking import print_lines
from darts.tracking.ledger import common_source
from darts.writing import is_machine_failure

# Seconds between two checks of the queue, by whether the judge trains. Then a trial takes longer,
# and many threads may wait at the same time.
_WAIT = {True: 0.5, False: 0.05}

SETTINGS = ("epochs", "seed", "ranks")  # numbers in a summary that are settings, not results


class Worker:
    """Evaluates trials of a study, one after the other.

    Args:
        plan: The study.
        study: The study, opened. Workers in several threads may share it.
        executor: Executes the runs of trials; None for this process.
    """

    def __init__(self, plan: StudyPlan, study: Study, executor: Executor | None = None) -> None:
        self.plan, self.study = plan, study
        self.tools = TrialTools(plan.config.target, plan.config.benchmark, executor)
        self._window = study_window(study)
        self._pruner = plan.config.pruner.make_pruner(plan.epochs)
        self._name = secrets.token_hex(8)
        self._stale: set[int] = set()  # IDs of the trials that were stale at the last look
        self._next_look = 0.0

    def step(self) -> bool:
        """Evaluate a trial, or wait briefly for other workers; return False to stop."""
        trials = self.study.get_trials(deepcopy=False)
        if is_over(self.plan, trials):
            return False
        self._requeue_stale(trials)
        claimed = claim_trial(self.plan, self.study, trials, self._window)
        if claimed is None:
            time.sleep(_WAIT[self.plan.config.judge.trains])
        else:
            self._run(claimed)
        return True

    def _requeue_stale(self, trials: Sequence[FrozenTrial]) -> None:
        """Put trials that are stale in two checks in a row back into the queue.

        Between the checks, a worker whose machine was asleep sends a heartbeat. So does one whose
        database had its clock set forward.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + self.plan.config.heartbeat
        before, self._stale = self._stale, stale_trials(self.study)
        # `trials` were read before the second check, so one requeued in between does not count.
        for trial in trials:
            if trial._trial_id in before & self._stale:
                requeue_lost(self.study, trial, self.plan.config.retries)

    def _run(self, claimed: FrozenTrial) -> None:
        """Evaluate a claimed trial and store its state, unless another worker took it over."""
        directory = self.plan.directory / "trials" / f"{claimed.number:04d}"
        try:
            with heartbeats(self.study, claimed, self.plan.config.heartbeat):
                trial = optuna.Trial(self.study, claimed._trial_id)
                trial.set_user_attr(OWNER, self._name)
                state, values = self._outcome(trial, directory)
                self._require_ownership(trial)
            self.study._storage.set_trial_state_values(claimed._trial_id, state, values)
        except UpdateFinishedTrialError:
            print_lines(f"trial {claimed.number} counts as lost, so its result is dropped")

    def _require_ownership(self, trial: optuna.Trial) -> None:
        """Raise UpdateFinishedTrialError if another worker has taken a trial over.

        This happens if this process was suspended for long.
        """
        if self._frozen(trial._trial_id).user_attrs[OWNER] != self._name:
            raise UpdateFinishedTrialError

    def _frozen(self, trial_id: int) -> FrozenTrial:
        return self.study._storage.get_trial(trial_id)

    def _outcome(
        self, trial: optuna.Trial, directory: Path
    ) -> tuple[TrialState, list[float] | None]:
        """Return the state and the values of the objectives; store duration and failure."""
        start = time.monotonic()
        state, values = TrialState.COMPLETE, None
        try:
            values = self._evaluate(trial, directory)
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except BaseException as error:
            if not is_fault_of_trial(error):
                requeue(self.study, self._frozen(trial._trial_id))
                raise
            state = TrialState.FAIL
            trial.set_user_attr(FAILURE, describe_failure(error, directory))
        trial.set_user_attr(WALL_SECONDS, time.monotonic() - start)
        return state, values

    def _evaluate(self, trial: optuna.Trial, directory: Path) -> list[float]:
        """Score the trial's point, store all scores, and return the values of the objectives."""
        plan, costs = self.plan, self.plan.costs
        point = suggest_point(trial, plan.space.parameters)
        if not costs.allows(point):
            trial.set_user_attr(SCORES, costs.limited(point))
            trial.set_user_attr(BEYOND, f"its network exceeds {costs.meter}")
            raise optuna.TrialPruned
        on_epoch = self._pruning_callback(trial, point)
        spec = TrialSpec(plan.overrides(point), plan.space.genotype(point), directory, on_epoch)
        results = plan.config.judge(spec, self.tools)
        scores = costs.limited(point) | finite_numbers(results)
        required = [*plan.objectives, *plan.config.limit.measured()]
        missing = [name for name in required if name not in scores]
        for name in missing:
            if name in results:  # a summary has null for nan and infinity
                value = math.nan if results[name] is None else results[name]
                raise ValueError(f"{name}={value}: must be finite")
        if plan.score in missing:
            available = ", ".join(name for name in scores if name.startswith("valid_"))
            raise ValueError(
                f"judge={plan.config.judge.name} returned no {plan.score}, only "
                f"{available or 'nothing'}"
            )
        if missing:
            scores |= costs.measure(point, missing)
        if {"joules", "gco2e"} & set(required):
            self._require_common_source(str(results["joules_source"]))
        source = {name: text for name, text in results.items() if name == "joules_source"}
        trial.set_user_attr(SCORES, {**scores, **source})
        return [float(scores[name]) for name in plan.objectives]

    def _pruning_callback(self, trial: optuna.Trial, point: Point) -> EpochCallback:
        """Return a callback that reports each epoch to the pruner, which may end the trial."""
        plan = self.plan
        epochs = int(str(point.get("epochs", plan.epochs)))
        worst = -math.inf if plan.higher_is_better else math.inf

        def on_epoch(epoch: int, scores: Mapping[str, float]) -> None:
            value = scores.get(plan.config.metric)
            if len(plan.objectives) > 1 or value is None:
                return
            value = worst if math.isnan(value) else value
            # Unlike `trial.report`, this is silent if a resumed run repeats an epoch.
            self.study._storage.set_trial_intermediate_value(trial._trial_id, epoch, value)
            # After the last epoch, pruning saves nothing.
            if epoch < epochs and plan.config.pruner.name != "none":
                frozen = self._frozen(trial._trial_id)
                if decide_pruning(self._pruner, self.study, frozen, self._window):
                    raise optuna.TrialPruned(f"pruned at epoch {epoch}")

        return on_epoch

    def _require_common_source(self, source: str) -> None:
        for trial in self.study.get_trials(deepcopy=False):
            other = trial_results(trial).get("joules_source", source)
            if common_source([source, other]) is None:
                raise ValueError(
                    f"joules cannot be compared: they come from {source} here and from {other} "
                    f"in trial {trial.number}"
                )


def finite_numbers(results: Mapping[str, object]) -> dict[str, float]:
    """Return the scores and costs in the results of a judge that are finite numbers, by name."""
    return {
        name: value
        for name, value in results.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and name not in SETTINGS
    }


def is_fault_of_trial(error: BaseException) -> bool:
    """Return whether an error may be the fault of the trial, unlike a signal or a full disk."""
    outside = (CancelledError, ExecutorError, UpdateFinishedTrialError)
    if isinstance(error, outside) or not isinstance(error, Exception):
        return False
    cannot_write = isinstance(error, OSError) and is_machine_failure(error)
    return not (cannot_write or machine_failure(error))


def describe_failure(error: BaseException, directory: Path) -> str:
    """Return an error in one line; append the traceback of an unexpected one to the trial's log."""
    if isinstance(error, RunFailed):
        return str(error)
    log = log_file(directory)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        return error_summary(error, file)
