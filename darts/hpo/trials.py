"""Read Optuna's trials: scores and state, and which trials count toward the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from darts.strategies.history import RETRIED, latest_attempts

# Names of user attributes of a trial.
SCORES = "scores"  # scores and costs by name
WALL_SECONDS = "wall_seconds"  # duration of the evaluation; missing if its worker was lost
FAILURE = "failure"  # why the trial failed, in one line
BEYOND = "beyond_limits"  # why its network was not trained, in one line
REPEAT = "repeat"  # whether a failed trial has to be repeated

# Why a lost trial failed.
LOST = "its worker sends no heartbeats"


def trial_state(trial: FrozenTrial) -> str:
    """Return ``complete``, ``pruned``, ``failed``, ``running`` or ``waiting``."""
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def trial_results(trial: FrozenTrial) -> Mapping[str, float | str]:
    """Return scores and costs of a trial by name; all are numbers except ``joules_source``."""
    results: Mapping[str, float | str] = trial.user_attrs.get(SCORES, {})
    return results


def trial_scores(trial: FrozenTrial) -> dict[str, float]:
    """Return the numeric scores and costs of a trial by name; empty if there are none yet."""
    results = trial_results(trial)
    return {name: value for name, value in results.items() if not isinstance(value, str)}


def failure_reason(trial: FrozenTrial) -> str:
    """Return why a trial failed, in one line."""
    return str(trial.user_attrs.get(FAILURE, LOST))


def must_be_repeated(trial: FrozenTrial) -> bool:
    """Return whether a trial, if it is the latest attempt at its position, must be repeated."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get(REPEAT))


def counted_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that count toward the budget, by position: the latest attempts.

    A trial that waits and repeats no other one is a free place in the queue.
    """
    return [
        trial
        for trial in latest_attempts(trials)
        if trial.state != TrialState.WAITING or RETRIED in trial.system_attrs
    ]


def finished_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the counted trials that have finished, by position."""
    finished = [trial for trial in counted_trials(trials) if trial.state.is_finished()]
    return [trial for trial in finished if not must_be_repeated(trial)]


def complete_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the counted trials that have a score, by position."""
    return [trial for trial in counted_trials(trials) if trial.state == TrialState.COMPLETE]
