"""What a search costs, told by a short one: its pilot.

An epoch of a search costs what its kind costs: it is dearer in a deeper stage than in the first,
and where alphas move than where they rest. So a pilot has epochs of each kind, and a longer search
is priced by how many of each it has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from darts.comparing.runs import RunFailed
from darts.methods.stages import Stage, place_of
from darts.searching.searcher import updates_alphas

EPOCHS_PER_STAGE = 3
"""Of each stage: one that begins it, one in which alphas rest, and one in which they move."""


class EpochKind(NamedTuple):
    """Of an epoch: the number of its stage, and whether alphas move in it."""

    stage: int
    moves: bool


def pilot_overrides(config: Any) -> list[str]:
    """What makes a pilot of a search: few epochs, of all kinds, and a look of the doctor at last.

    Args:
        config: of the search.
    """
    stages, epochs = stages_of(config), EPOCHS_PER_STAGE
    while min(Counter(place_of(e, epochs, stages).stage for e in range(epochs)).values()) < EPOCHS_PER_STAGE:
        epochs += 1
    found = [f"epochs={epochs}"]
    if config.bilevel.updates_alphas and config.arch_optimizer.warmup > 0:
        found.append("arch_optimizer.warmup=0.5")
    if config.relaxation.uses_alphas and config.collapse.every > 0:
        found += [f"collapse.every={epochs}", "collapse.action=warn"]
    return found


def stages_of(config: Any) -> list[Stage]:
    """The stages of a search, one at least."""
    return config.stages or [Stage()]


class CostModel:
    """What searches of a method cost, by how many epochs they have.

    Args:
        config: of the pilot.
        after_epochs: joules that it had used by the end of each epoch.
        whole: joules that it has used in all, with what a search does after its epochs.
        looks: joules of the doctor's looks.

    Raises:
        RunFailed: for a pilot that does not tell what its epochs cost.
    """

    def __init__(
        self, config: Any, after_epochs: Sequence[float], whole: float, looks: float = 0.0
    ) -> None:
        count = _looks(config, len(after_epochs))
        self._look = looks / count if count else 0.0
        measured: dict[EpochKind, list[float]] = defaultdict(list)
        for epoch, (before, after) in enumerate(pairwise(after_epochs), 1):
            place = place_of(epoch, config.epochs, stages_of(config))
            if epoch > place.first:  # entering a stage costs, and is paid once
                look = self._look if _looks_at(config, epoch) else 0.0
                measured[_kind(config, epoch, config.epochs)].append(after - before - look)
        self._epochs = {kind: sum(costs) / len(costs) for kind, costs in measured.items()}
        if not self._epochs or not min(self._epochs.values()) > 0:
            raise RunFailed("the pilot does not tell what an epoch costs")
        self._rest = 0.0
        self._rest = whole - self.of(config, len(after_epochs))

    def of(self, config: Any, epochs: int) -> float:
        """Joules of a search of so many epochs.

        Args:
            config: of the search.
            epochs: instead of its own.

        Raises:
            RunFailed: if it has epochs of a kind that the pilot does not know.
        """
        joules = self._rest + self._look * _looks(config, epochs)
        for kind, count in Counter(_kind(config, e, epochs) for e in range(epochs)).items():
            if kind not in self._epochs:
                what = "move" if kind.moves else "rest"
                raise RunFailed(
                    f"the pilot has no epoch of stage {kind.stage + 1} in which alphas {what}; "
                    "remove its directory to have it made again"
                )
            joules += count * self._epochs[kind]
        return joules

    def epochs_within(self, config: Any, budget: float) -> int:
        """How many epochs of a search come nearest to a budget in joules.

        Raises:
            RunFailed: if it does not pay for the fewest epochs and what comes after them.
        """
        least = len(stages_of(config))
        cheapest = self.of(config, least)
        if cheapest > budget:
            raise RunFailed(
                f"{budget:.4g} J do not pay for {least} epoch{'s' * (least > 1)} and what comes "
                f"after them, {cheapest:.4g} J; give the searches of the method more epochs in a "
                "new comparison, or leave this baseline out"
            )
        low, high = least, 2 * least
        while self.of(config, high) <= budget:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.of(config, middle) <= budget else (low, middle)
        return min((high, low), key=lambda epochs: abs(self.of(config, epochs) - budget))


def _kind(config: Any, epoch: int, epochs: int) -> EpochKind:
    place = place_of(epoch, epochs, stages_of(config))
    return EpochKind(place.stage, updates_alphas(config, place, epoch))


def _looks_at(config: Any, epoch: int) -> bool:
    return bool(config.collapse.is_due(epoch) and config.relaxation.uses_alphas)


def _looks(config: Any, epochs: int) -> int:
    return sum(_looks_at(config, epoch) for epoch in range(epochs))
