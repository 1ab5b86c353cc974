"""Read Optuna's trials: point, scores and state, and which trials count toward the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from darts.spaces.parameters import Point
from darts.strategies.point_sampler import SURPLUS

# Names of attributes of a trial.
SCORES = "scores"  # user attribute: scores and costs by name
FAILURE = "failure"  # user attribute: reason of a failure, in one line
WORKER = "worker"  # user attribute: name of the worker that evaluates the trial
RETRY_HISTORY = "retry_history"  # system attribute: numbers of the lost trials that it repeats


def trial_point(trial: FrozenTrial) -> Point:
    """Return the point of a trial."""
    return dict(trial.params)


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
    return str(trial.user_attrs.get(FAILURE, "its worker sends no heartbeats"))


def retry_history(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the lost trials that a trial repeats."""
    return list(trial.system_attrs.get(RETRY_HISTORY, ()))


def replaced_trials(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of lost trials that other trials repeat."""
    return {number for trial in trials for number in retry_history(trial)}


def counted_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that count toward the budget: neither replaced nor surplus."""
    replaced = replaced_trials(trials)
    return [t for t in trials if t.number not in replaced and SURPLUS not in t.user_attrs]


def finished_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the counted trials that have finished, in the order of their numbers."""
    return [trial for trial in counted_trials(trials) if trial.state.is_finished()]


def complete_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the counted trials that have a score, in the order of their numbers."""
    return [trial for trial in counted_trials(trials) if trial.state == TrialState.COMPLETE]
