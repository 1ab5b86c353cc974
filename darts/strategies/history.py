"""What a proposal may depend on: the history visible to a trial.

A proposal is a function of the seed of the study, the number of the trial and the history. With
several workers, trials finish in a different order each time, so the history must not depend on
which trials happen to have finished. Trial ``n`` therefore sees

* the results of the trials up to ``n - window``, which all have to finish before it starts, and
* the points, but not the results, of the trials in between, which usually still run. These points
  are themselves functions of the seed and the earlier history.

The window is usually the number of workers: with a smaller window, workers would idle. It is stored
when the study begins, because another window would lead to other points.

A worker may die. Its trial then goes back to the queue, and keeps its number and its point.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

RUNG = "completed_rung"  # prefix of system attributes: values at the rungs of Optuna's pruners


def visible_history(
    trials: Sequence[FrozenTrial], trial: FrozenTrial, window: int
) -> list[FrozenTrial]:
    """Return copies of the trials that precede ``trial``, without the results that it may not see.

    ``trials`` are all trials of the study, by number. Copies without results have the state
    ``RUNNING``.
    """
    last = trial.number - window  # whose result is visible
    return [
        _copy(earlier, shown=earlier.number <= last and earlier.state.is_finished())
        for earlier in trials[: trial.number]
    ]


def _copy(trial: FrozenTrial, *, shown: bool) -> FrozenTrial:
    """Copy a trial; unless ``shown``, as a running one without results."""
    copied = copy.copy(trial)
    attributes = trial.system_attrs.items()
    copied.system_attrs = {k: v for k, v in attributes if shown or not k.startswith(RUNG)}
    if not shown:
        copied.state, copied.values, copied.datetime_complete = TrialState.RUNNING, None, None
        copied.user_attrs, copied.intermediate_values = {}, {}
    return copied
