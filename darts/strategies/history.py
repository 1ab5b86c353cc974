"""What a proposal may depend on: the positions of trials, and the history visible to a trial.

A proposal is a function of the seed of the study, the position of the trial and the history. With
several workers, trials finish in a different order each time, so the history must not depend on
which trials happen to have finished. Trial ``n`` therefore sees

* the results of the trials up to ``n - window``, which all have to finish before it starts, and
* the points, but not the results, of the trials in between, which usually still run. These points
  are themselves functions of the seed and the earlier history.

The window is usually the number of workers: with a smaller window, workers would idle. It is stored
when the study begins, because another window would lead to other points.

A worker may die. Its trial then fails and is repeated by another trial with the same point, which
takes the position of the first attempt. Without kills, a position equals the number of a trial.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

RETRIED = "failed_trial"  # system attribute: number of the first attempt that a trial repeats
RETRY_HISTORY = "retry_history"  # system attribute: numbers of the lost trials that it repeats
RUNG = "completed_rung"  # prefix of system attributes: values at the rungs of Optuna's pruners


def first_attempt(trial: FrozenTrial) -> int:
    """Return the number of the first attempt at a trial's position, usually the trial itself."""
    return int(trial.system_attrs.get(RETRIED, trial.number))


def retry_history(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the lost trials that a trial repeats."""
    return list(trial.system_attrs.get(RETRY_HISTORY, ()))


def latest_attempts(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the latest attempt at each position, in the order of the positions.

    Two processes may both queue the repeat of a lost trial. Then the first repeat counts, and no
    worker runs the other one.
    """
    latest: dict[int, FrozenTrial] = {}
    for trial in trials:
        first = first_attempt(trial)
        known = latest.get(first)
        if known is None or len(retry_history(trial)) > len(retry_history(known)):
            latest[first] = trial
    return [latest[first] for first in sorted(latest)]


def trial_position(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the position of a trial, from 0: how many trials precede it, repeats not counted."""
    first = first_attempt(trial)
    return sum(RETRIED not in other.system_attrs and other.number < first for other in trials)


def visible_history(
    trials: Sequence[FrozenTrial], trial: FrozenTrial, window: int
) -> list[FrozenTrial]:
    """Return copies of the trials that precede ``trial``, without the results that it may not see.

    They are in the order of their positions, which are also their numbers. Copies without results
    have the state ``RUNNING``.
    """
    position = trial_position(trial, trials)
    return [
        _copy(attempt, n, shown=n <= position - window and attempt.state.is_finished())
        for n, attempt in enumerate(latest_attempts(trials)[:position])
    ]


def _copy(trial: FrozenTrial, number: int, *, shown: bool) -> FrozenTrial:
    """Copy a trial under another number; unless ``shown``, as a running one without results."""
    copied = copy.copy(trial)
    copied.number = copied._trial_id = number
    attributes = trial.system_attrs.items()
    copied.system_attrs = {k: v for k, v in attributes if shown or not k.startswith(RUNG)}
    if not shown:
        copied.state, copied.values, copied.datetime_complete = TrialState.RUNNING, None, None
        copied.user_attrs, copied.intermediate_values = {}, {}
    return copied
