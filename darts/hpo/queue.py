"""The queue of a study: which trial may start next, and the return of lost trials.

Trials start in the order of their numbers, and a trial waits until the history that it may see is
complete (see ``darts.strategies.history``). Workers share only the database. To claim a waiting
trial, a worker changes its state, which succeeds for one worker only. A worker that finds no trial
to claim adds one; if two workers each add one at the same time, the later trial waits its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import cast

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.study import StudyPlan
from darts.hpo.trials import FAILURE, LOSSES, LOST, finished_trials

MAX_INITIAL_FAILURES = 3  # a study ends if this many trials at its start all failed


def initial_failures(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the first ``MAX_INITIAL_FAILURES`` trials if they all failed, otherwise []."""
    failed = [t for t in trials[:MAX_INITIAL_FAILURES] if t.state == TrialState.FAIL]
    return failed if len(failed) == MAX_INITIAL_FAILURES else []


def is_over(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether a study has finished all its trials, or ends because its first ones failed."""
    finished = finished_trials(trials[: plan.max_trials])
    return bool(initial_failures(trials)) or len(finished) == plan.max_trials


def claim_trial(
    plan: StudyPlan, study: Study, trials: Sequence[FrozenTrial], window: int
) -> FrozenTrial | None:
    """Claim the next trial for this process; return None if it has to wait for other trials.

    ``trials`` are all trials of the study, read a moment ago. For the window, see
    ``darts.strategies.history``.
    """
    number = _next_trial(plan, trials, window)
    if number is None:
        return None
    if number == len(trials):
        study.add_trial(optuna.create_trial(state=TrialState.WAITING))
        trials = study.get_trials(deepcopy=False)
    waiting = trials[number]
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


@contextmanager
def heartbeats(study: Study, trial: FrozenTrial, seconds: float) -> Iterator[None]:
    """Call ``record_heartbeat`` every ``seconds`` in a thread while the block runs."""
    stop = Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            with suppress(Exception):  # the main thread meets the same error
                record_heartbeat(study, trial)

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def stale_trials(study: Study) -> set[int]:
    """Return the IDs of the running trials without a heartbeat during the last two intervals."""
    # Optuna's public function also fails the trials, and repeats them under other numbers. Points
    # would depend on who sees the failure before the repeat exists.
    return set(cast("RDBStorage", study._storage)._get_stale_trial_ids(study._study_id))


def _next_trial(plan: StudyPlan, trials: Sequence[FrozenTrial], window: int) -> int | None:
    """Return the number of the trial that may start, or None if none may.

    It is the number of ``trials`` if the trial has to be added.
    """
    number = len(trials)
    unfinished = [trial for trial in trials if not trial.state.is_finished()]
    for trial in unfinished:
        if trial.state == TrialState.WAITING:
            number = trial.number
            break
        if not plan.space.parameters.contains(trial.params):
            return None  # it has no point yet, on which all later proposals depend
    oldest = unfinished[0].number if unfinished else number
    must_wait = plan.waits_for_results and number - oldest >= window
    is_full = plan.max_trials is not None and number >= plan.max_trials
    return None if must_wait or is_full else number


def requeue(study: Study, trial: FrozenTrial) -> None:
    """Put a running trial back into the queue, with its point; do nothing if it has finished."""
    with suppress(UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def requeue_lost(study: Study, trial: FrozenTrial, retries: int) -> None:
    """Put a running trial whose worker was lost back into the queue, at most ``retries`` times.

    After that, it fails.
    """
    losses = trial.user_attrs.get(LOSSES, 0)
    with suppress(UpdateFinishedTrialError):
        if losses < retries:
            study._storage.set_trial_user_attr(trial._trial_id, LOSSES, losses + 1)
            requeue(study, trial)
        else:
            study._storage.set_trial_user_attr(trial._trial_id, FAILURE, LOST)
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def requeue_running(study: Study) -> None:
    """Put all running trials back into the queue; call it when no process evaluates trials.

    A command that was killed has left them. This does not count as a loss: the point is not to
    blame for it, and whoever killed the command resumes it.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        requeue(study, trial)
