"""The queue of a study: which trial may start next, and the repeats of lost trials.

Trials start in the order of their positions, and a trial waits until the history that it may see is
complete (see ``darts.strategies.history``). Workers share only the database. To claim a waiting
trial, a worker changes its state, which succeeds for one worker only. A worker that finds no trial
to claim adds one; if two workers each add one at the same time, the later trial waits its turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.study import StudyPlan
from darts.hpo.trials import FAILURE, LOST, REPEAT, failure_reason, must_be_repeated
from darts.strategies.history import RETRIED, RETRY_HISTORY, RUNG, latest_attempts, retry_history

MAX_INITIAL_FAILURES = 3  # a study ends if this many trials at its start all failed


def initial_failures(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the first ``MAX_INITIAL_FAILURES`` trials if they all failed, otherwise []."""
    first = latest_attempts(trials)[:MAX_INITIAL_FAILURES]
    failed = all(t.state == TrialState.FAIL and not must_be_repeated(t) for t in first)
    return first if failed and len(first) == MAX_INITIAL_FAILURES else []


def is_over(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether a study has finished all its trials, or ends because its first ones failed."""
    if initial_failures(trials):
        return True
    if plan.max_trials is None:
        return False
    attempts = latest_attempts(trials)[: plan.max_trials]
    over = all(trial.state.is_finished() and not must_be_repeated(trial) for trial in attempts)
    return over and len(attempts) == plan.max_trials


def claim_trial(
    plan: StudyPlan, study: Study, trials: Sequence[FrozenTrial], window: int
) -> FrozenTrial | None:
    """Claim the next trial for this process; return None if it has to wait for other trials.

    ``trials`` are all trials of the study, read a moment ago. For the window, see
    ``darts.strategies.history``.
    """
    waiting = _next_trial(plan, trials, window)
    if waiting == "new":
        study.add_trial(optuna.create_trial(state=TrialState.WAITING))
        waiting = _next_trial(plan, study.get_trials(deepcopy=False), window)
    if not isinstance(waiting, FrozenTrial):
        return None
    # Before the claim, because Optuna never finds a running trial without a heartbeat stale.
    record_heartbeat(study, waiting)
    try:
        claimed = study._storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING)
    except UpdateFinishedTrialError:
        return None
    return study._storage.get_trial(waiting._trial_id) if claimed else None


def record_heartbeat(study: Study, trial: FrozenTrial) -> None:
    """Store that the worker of a trial is alive."""
    cast("RDBStorage", study._storage).record_heartbeat(trial._trial_id)


def stale_trials(study: Study) -> set[int]:
    """Return the IDs of the running trials without a heartbeat during the last two intervals."""
    # Optuna's public function also fails the trials, but does not store at the same moment that
    # they will be repeated. Points would depend on who sees the failure before.
    return set(cast("RDBStorage", study._storage)._get_stale_trial_ids(study._study_id))


def _next_trial(plan: StudyPlan, trials: Sequence[FrozenTrial], window: int) -> FrozenTrial | str:
    """Return the waiting trial that may start, ``new`` if one has to be added, or ``none``."""
    oldest: int | None = None  # position of the first unfinished trial
    attempts = latest_attempts(trials)
    for position, trial in enumerate(attempts[: plan.max_trials]):
        if trial.state.is_finished() and not must_be_repeated(trial):
            continue
        oldest = position if oldest is None else oldest
        if plan.waits_for_results and position - oldest >= window:
            return "none"
        if trial.state == TrialState.WAITING:
            return trial
        if not plan.space.parameters.contains(trial.params):
            return "none"  # it has no point yet, on which all later proposals depend
    full = plan.max_trials is not None and len(attempts) >= plan.max_trials
    must_wait = oldest is not None and plan.waits_for_results and len(attempts) - oldest >= window
    return "none" if full or must_wait else "new"


def fail_and_requeue(
    study: Study, trial: FrozenTrial, reason: str, retries: float = math.inf
) -> bool:
    """Record a running trial as failed, and queue its point again up to ``retries`` times.

    Only earlier attempts that were lost count, because the point is not to blame for a signal or a
    full disk. Return False if another process had already finished the trial.
    """
    trials = study.get_trials(deepcopy=False)
    losses = sum(failure_reason(trials[number]) == LOST for number in retry_history(trial))
    repeat = losses < retries
    try:
        study._storage.set_trial_user_attr(trial._trial_id, FAILURE, reason)
        study._storage.set_trial_user_attr(trial._trial_id, REPEAT, repeat)
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    requeue_lost(study, study.get_trials(deepcopy=False))
    return True


def requeue_running(study: Study) -> None:
    """Queue all running trials again; call it when no process evaluates trials.

    A command that was killed has left them. This does not count as a loss: the point is not to
    blame for it, and whoever killed the command resumes it.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        fail_and_requeue(study, trial, "its command was killed")


def requeue_lost(study: Study, trials: Sequence[FrozenTrial]) -> None:
    """Queue the points of lost trials again, unless that has already happened.

    A process may die after it has recorded a loss and before it has queued the repeat. Any other
    process then queues it.
    """
    for trial in latest_attempts(trials):
        if not must_be_repeated(trial):
            continue
        history = [*retry_history(trial), trial.number]
        attributes = {
            name: value for name, value in trial.system_attrs.items() if not name.startswith(RUNG)
        }
        attributes |= {RETRIED: history[0], RETRY_HISTORY: history}
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                system_attrs=attributes,
            )
        )
