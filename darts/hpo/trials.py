"""Read Optuna's trials: their scores and states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

# Names of user attributes of a trial.
SCORES = "scores"  # scores and costs by name
WALL_SECONDS = "wall_seconds"  # duration of the evaluation
FAILURE = "failure"  # why the trial failed, in one line
BEYOND = "beyond_limits"  # why its network was not trained, in one line
OWNER = "owner"  # name of the worker that evaluates it
LOSSES = "losses"  # how often its worker was lost

# Why a trial failed whose worker was lost too often.
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


def finished_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have finished, by number."""
    return [trial for trial in trials if trial.state.is_finished()]


def complete_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have a score, by number."""
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]
