"""Decisions of Optuna's samplers and pruners, made from the visible history of a trial.

Optuna's samplers keep a random state and read the database of the study, and some write to it: the
genetic sampler stores the parents of each generation for all workers. Here they see a copy of the
visible history in memory instead. The copy is made for each decision, so decisions do not depend on
other workers. Samplers read nothing from the database except plain values of checked trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from darts.strategies.history import visible_history
from darts.strategies.point_sampler import MEASURED, Attributes, PointSampler, Proposal, random_of
from darts.strategies.strategy import Setup, silence_optuna_warnings, suggest_point

# Points of the model that may exceed a limit before a random point takes their place.
MODEL_ATTEMPTS = 5


def snapshot_sampler(setup: Setup, make: Callable[..., BaseSampler]) -> PointSampler:
    """Return a sampler that builds a new one of Optuna for each point; ``make`` takes its seed."""

    def propose(study: Study, visible: Sequence[FrozenTrial], attempt: int) -> Proposal:
        random = random_of(setup, len(visible), attempt)
        if attempt >= MODEL_ATTEMPTS:
            # A model may not know that networks near its best point exceed a limit.
            return setup.space.draw(random), {}
        if (constraints := setup.constraints) is not None:
            for earlier in visible:
                if earlier.state in MEASURED:  # Optuna stores the excess over each limit like this
                    earlier.system_attrs["constraints"] = tuple(constraints(earlier))
        with silence_optuna_warnings():
            sampler = make(seed=random.randrange(2**31))
        copy, current = _snapshot(study, visible, sampler, optuna.pruners.NopPruner())
        point = suggest_point(current, setup.space)
        return point, _numbers(copy._storage.get_trial(current._trial_id))

    return PointSampler(setup, propose)


def decide_pruning(pruner: BasePruner, study: Study, trial: FrozenTrial, window: int) -> bool:
    """Decide from the visible history whether to end a running trial at its latest epoch.

    The trial has a value for each epoch so far. Store the attributes that the pruner attaches to
    it.
    """
    visible = visible_history(study.get_trials(deepcopy=False), trial, window)
    copy, current = _snapshot(study, visible, optuna.samplers.RandomSampler(), pruner, trial)
    frozen = copy._storage.get_trial(current._trial_id)
    prune = pruner.prune(copy, frozen)
    for name, value in _numbers(copy._storage.get_trial(current._trial_id)).items():
        if trial.system_attrs.get(name) != value:
            study._storage.set_trial_system_attr(trial._trial_id, name, value)
    return prune


def _snapshot(
    study: Study,
    visible: Sequence[FrozenTrial],
    sampler: BaseSampler,
    pruner: BasePruner,
    current: FrozenTrial | None = None,
) -> tuple[Study, optuna.Trial]:
    """Return a study in memory with the visible trials and the current one, which is the last."""
    storage = InMemoryStorage()
    # Hyperband assigns trials to brackets by the name of the study and the number of the trial.
    identifier = storage.create_new_study(study.directions, study.study_name)
    for trial in visible:
        storage.create_new_trial(identifier, trial)
    number = storage.create_new_trial(identifier, current)
    copy = Study(study.study_name, storage, sampler, pruner)
    return copy, optuna.Trial(copy, number)


def _numbers(trial: FrozenTrial) -> Attributes:
    """Return the numeric attributes of a trial.

    With the other attributes, Optuna's samplers only coordinate trials that run at the same time.
    """
    attributes = trial.system_attrs.items()
    return {name: value for name, value in attributes if isinstance(value, (int, float))}
