"""Cost model of a search method, measured by its pilot, a short search.

The cost of an epoch depends on its kind: its stage, and whether it updates the alphas. A pilot has
epochs of each kind. The cost of a longer search follows from its number of epochs of each kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from darts.comparing.runs import RunFailed
from darts.config import SearchConfig
from darts.methods.stages import Stage, stage_position
from darts.searching.searcher import updates_alphas

EPOCHS_PER_STAGE = 3
"""Epochs of a pilot per stage: the first one, one with frozen alphas, one with updated alphas."""

EpochKind = tuple[int, bool]
"""Kind of an epoch: the index of its stage, and whether it updates the alphas."""


def pilot_overrides(config: SearchConfig) -> list[str]:
    """Return the overrides that turn a search into its pilot.

    The pilot has at least ``EPOCHS_PER_STAGE`` epochs of each stage. If the alphas have a warm-up,
    it takes half of each stage. If the search has collapse checks, the pilot has one after its last
    epoch.
    """
    stages, epochs, shortest = search_stages(config), EPOCHS_PER_STAGE - 1, 0
    while shortest < EPOCHS_PER_STAGE:
        epochs += 1
        lengths = Counter(stage_position(epoch, epochs, stages).stage for epoch in range(epochs))
        shortest = min(lengths.values())
    overrides = [f"epochs={epochs}"]
    if config.bilevel.updates_alphas and config.arch_optimizer.warmup > 0:
        overrides.append("arch_optimizer.warmup=0.5")
    if config.relaxation.uses_alphas and config.collapse.every > 0:
        overrides += [f"collapse.every={epochs}", "collapse.action=warn"]
    return overrides


def search_stages(config: SearchConfig) -> list[Stage]:
    """Return the stages of a search. A search without configured stages has one."""
    return config.stages or [Stage()]


class CostModel:
    """Predicted energy of the searches of a method as a function of their number of epochs.

    Args:
        config: Configuration of the pilot.
        joules_after_epochs: Joules from the start of the pilot to the end of each epoch.
        total_joules: All joules of the pilot, including the work after its last epoch.
        check_joules: Joules of all collapse checks of the pilot.

    Raises:
        RunFailed: If the energy of an epoch was not measured, or the pilot lacks a kind of epoch.
    """

    def __init__(
        self,
        config: SearchConfig,
        joules_after_epochs: Sequence[float],
        total_joules: float,
        check_joules: float = 0.0,
    ) -> None:
        checks = _count_checks(config, len(joules_after_epochs))
        self._check = check_joules / checks if checks else 0.0
        measured: dict[EpochKind, list[float]] = defaultdict(list)
        for epoch, (before, after) in enumerate(pairwise(joules_after_epochs), 1):
            position = stage_position(epoch, config.epochs, search_stages(config))
            if epoch > position.first:  # the first epoch of a stage includes the stage's setup
                check = self._check if _is_checked(config, epoch) else 0.0
                measured[_epoch_kind(config, epoch, config.epochs)].append(after - before - check)
        self._epochs = {kind: sum(costs) / len(costs) for kind, costs in measured.items()}
        if not self._epochs or not min(self._epochs.values()) > 0:
            raise RunFailed("the energy of the pilot's epochs was not measured")
        # Work that is done once: whatever the costs of epochs and checks do not explain.
        self._constant = 0.0
        self._constant = total_joules - self.joules(config, len(joules_after_epochs))

    def joules(self, config: SearchConfig, epochs: int) -> float:
        """Return the predicted joules of a search with ``epochs`` instead of ``config.epochs``.

        Raises:
            RunFailed: If the search has a kind of epoch that the pilot lacks.
        """
        joules = self._constant + self._check * _count_checks(config, epochs)
        for kind, count in Counter(_epoch_kind(config, e, epochs) for e in range(epochs)).items():
            if kind not in self._epochs:
                stage, updated = kind
                state = "updated" if updated else "frozen"
                raise RunFailed(
                    f"the pilot has no epoch of stage {stage + 1} with {state} alphas; "
                    "remove its directory to run it again"
                )
            joules += count * self._epochs[kind]
        return joules

    def epochs_within(self, config: SearchConfig, budget: float) -> int:
        """Return the number of epochs whose predicted cost is closest to a budget in joules.

        Raises:
            RunFailed: If the budget does not suffice for the minimum number of epochs.
        """
        min_epochs = len(search_stages(config))
        min_joules = self.joules(config, min_epochs)
        if min_joules > budget:
            raise RunFailed(
                f"a budget of {budget:.4g} J does not suffice for {min_epochs} "
                f"epoch{'s' * (min_epochs > 1)} and the work done once ({min_joules:.4g} J); "
                "start a new comparison with more epochs for the method, or without this baseline"
            )
        low, high = min_epochs, 2 * min_epochs
        while self.joules(config, high) <= budget:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.joules(config, middle) <= budget
            low, high = (middle, high) if fits else (low, middle)
        return min((high, low), key=lambda epochs: abs(self.joules(config, epochs) - budget))


def _epoch_kind(config: SearchConfig, epoch: int, epochs: int) -> EpochKind:
    position = stage_position(epoch, epochs, search_stages(config))
    return position.stage, updates_alphas(config, position, epoch)


def _is_checked(config: SearchConfig, epoch: int) -> bool:
    """Return whether a collapse check follows an epoch."""
    return config.collapse.is_due(epoch) and config.relaxation.uses_alphas


def _count_checks(config: SearchConfig, epochs: int) -> int:
    return sum(_is_checked(config, epoch) for epoch in range(epochs))
