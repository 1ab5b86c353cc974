"""Digests of trials, by which a change of a finished trial is noticed.

A digest protects against damage and careless edits, not against someone who computes a new one. An
untrusted study is safe to open for another reason: its points are checked against the search space
and become typed overrides.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from optuna.distributions import distribution_to_json
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.store import damaged, machine_failure
from darts.hpo.study import StudyPlan
from darts.hpo.trials import FAILURE, REPEAT, SCORES, WALL_SECONDS, trial_results
from darts.reading import one_line
from darts.strategies.history import RETRIED, RETRY_HISTORY, retry_history
from darts.strategies.strategy import distribution

_DIGEST = "digest:"  # prefix of user attributes of a trial, followed by a state
_RESULTS = (SCORES, WALL_SECONDS)


def digest(content: object) -> str:
    """Return the digest of JSON values."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def finish_trial(
    study: Study, trial_id: int, state: TrialState, values: Sequence[float] | None = None
) -> None:
    """Finish a running trial: store its digest, then its final state and its objective values.

    The digest depends on the state. If two processes finish a trial at the same time with different
    states, both digests are stored; the state that is stored first is final, and its digest counts.
    Raise UpdateFinishedTrialError if the trial has already finished.
    """
    storage = study._storage
    content = _content(storage.get_trial(trial_id), state, values)
    storage.set_trial_user_attr(trial_id, _DIGEST + state.name.lower(), digest(content))
    storage.set_trial_state_values(trial_id, state, values)


def read_trials(plan: StudyPlan, study: Study) -> list[FrozenTrial]:
    """Return all trials of a study that may be untrusted or damaged, checked."""
    try:
        trials = study.get_trials(deepcopy=False)
    except Exception as error:  # a stored value of a wrong type may raise any error
        if machine_failure(error):
            raise
        reason = one_line(error)
        raise damaged(f"the trials in storage={plan.storage!r} cannot be read: {reason}") from None
    check_trials(plan, trials)
    return trials


def check_trials(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> None:
    """Raise ConfigError if a trial differs from what a worker of this study stores."""
    for number, trial in enumerate(trials):
        try:
            problem = _problem(plan, trial, number)
        except Exception as error:  # a stored value of a wrong type may raise any error
            problem = f"cannot be read ({type(error).__name__})"
        if problem:
            raise damaged(f"trial {number} in storage={plan.storage!r} {problem}")


def _problem(plan: StudyPlan, trial: FrozenTrial, number: int) -> str | None:
    if trial.number != number:
        return f"is missing; the next one is trial {trial.number}"
    history = retry_history(trial)
    repeats = [trial.system_attrs[RETRIED]] if RETRIED in trial.system_attrs else []
    if repeats != history[:1] or not all(0 <= lost < number for lost in history):
        return "does not say which trial it repeats"
    point = trial.params
    # A worker that dies while it stores a point leaves a part of it.
    if not plan.space.parameters.contains(point, partly=True):
        return f"has a point outside the search space: {str(point)[:200]}"
    for name, stored in trial.distributions.items():
        if stored != distribution(plan.space.parameters.by_name[name].domain):
            return f"has another domain of {name} than the study"
    if not trial.state.is_finished():
        return None
    content = _content(trial, trial.state, trial.values)
    if trial.user_attrs.get(_DIGEST + trial.state.name.lower()) != digest(content):
        return "was changed after it had finished"
    if trial.state != TrialState.COMPLETE:
        return None
    results = trial_results(trial)
    if not plan.space.parameters.contains(point):
        return "has an incomplete point"
    values = [float(results[name]) for name in plan.objectives]
    if values != trial.values or not all(map(math.isfinite, values)):
        return "has objective values that differ from its scores"
    return None


def _content(trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> object:
    """Return what the digest of a finished trial covers, as JSON values."""
    # A process that considered the trial lost may have stored a reason just before the trial
    # completed. The reason then means nothing, so only the digest of a failed trial covers it.
    names = (*_RESULTS, FAILURE, REPEAT) if state == TrialState.FAIL else _RESULTS
    domains = {name: distribution_to_json(d) for name, d in trial.distributions.items()}
    numbers = {k: v for k, v in trial.system_attrs.items() if isinstance(v, (int, float))}
    return [
        trial.number,
        state.name,
        None if values is None else list(values),
        [trial.params, domains],
        {name: trial.user_attrs.get(name) for name in names},
        {str(epoch): value for epoch, value in trial.intermediate_values.items()},
        numbers,
        trial.system_attrs.get(RETRY_HISTORY),
    ]
