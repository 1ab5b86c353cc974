"""Policies that divide a time budget among candidates, on recorded learning curves.

Each policy gets the candidates in the order in which they are proposed and a budget in seconds of
one worker, and returns the value of the network that it chooses. All choices use the values
recorded so far. A run continues where it stopped, except in ``stages``.

References:
    Jamieson and Talwalkar, arXiv:1502.07943: successive halving.
    Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization", arXiv:1406.3896. Here, a power
    law predicts the curves, and the candidate with the best prediction continues.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from replay_curves import Curve

from darts.finding.policy import Standing, promoted
from darts.finding.race import EXPLORED, NEWCOMERS, SLICES
from darts.finding.slices import GROWTH, LONGEST

Policy = Callable[[Sequence[Curve], float], float]


@dataclass(frozen=True)
class Constants:
    """The constants of the race of ``darts.find``; see the modules that define the defaults."""

    explored: float = EXPLORED
    slices: int = SLICES
    newcomers: int = NEWCOMERS
    longest: float = LONGEST
    first_epochs: int | None = None  # the warm-up and one more

    def slice_seconds(self, curve: Curve, budget: float) -> float:
        """Return the first slice of a candidate."""
        count = curve.first_epochs if self.first_epochs is None else self.first_epochs
        epochs = curve.epoch_seconds(count) if count else 0.0
        return max(min(epochs, self.longest * budget), budget / self.slices)


DEFAULTS = Constants()


def uniform(order: Sequence[Curve], budget: float) -> float:
    """Train all candidates for the same time; choose the best one."""
    seconds = budget / len(order)
    return max(order, key=lambda curve: curve.rank(seconds)).value(seconds)


def first(order: Sequence[Curve], budget: float) -> float:
    """Train the first candidate only."""
    return order[0].value(budget)


@dataclass
class Halving:
    """The race of ``darts.find`` with one worker: ``Race.explore``, then ``train_winner``.

    Attributes:
        budget: Its seconds.
        baselines: The candidates of the first round.
        others: The candidates that enter later.
        constants: The constants of the race.
        trained: Seconds of each candidate so far, by name.
        used: Seconds of all candidates.
        rounds: Number of rounds.
    """

    budget: float
    baselines: list[Curve]
    others: list[Curve]
    constants: Constants = DEFAULTS
    trained: dict[str, float] = field(default_factory=dict)
    used: float = 0.0
    rounds: int = 0
    _standings: dict[str, Standing] = field(default_factory=dict)
    _curves: dict[str, Curve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slice = self.constants.slice_seconds(self.baselines[0], self.budget)

    def explore(self, until: float) -> None:
        """Execute rounds until this many seconds are used."""
        while self.used < until:
            entries = self._plan(until)
            if not entries:
                return
            for curve, stage in entries:
                self._train(curve, stage)
            self.rounds += 1

    def best(self, *, baseline: bool = False) -> Curve:
        """Return the candidate, or the baseline, with the best value so far."""
        known = [self._curves[name] for name in self.trained]
        known = [curve for curve in known if curve.is_baseline or not baseline] or known
        return max(known, key=lambda curve: curve.rank(self.trained[curve.name]))

    def finish(self, end: float) -> Curve:
        """Train the best candidate until the end, or until more training does not help.

        Before, the best baseline trains for as long as the best candidate, as in ``duel``.
        """
        best = self.best()
        self._extend(self.best(baseline=True), self.trained[best.name])
        best = self.best()
        while end - self.used > 1e-9 and not best.is_exhausted(self.trained[best.name]):
            before = self.trained[best.name]
            self._extend(best, before + min(end - self.used, before))
        return best

    def _plan(self, until: float) -> list[tuple[Curve, int]]:
        """Return what trains in the next round: promoted candidates, then new ones."""
        entries = [
            (self._curves[name], len(self._standings[name].scores))
            for name in promoted(list(self._standings.values()))
        ]
        count = self.constants.newcomers if self.rounds else len(self.baselines)
        source = self.others if self.rounds else self.baselines
        entries += [(curve, 0) for curve in source[:count]]
        left = (until if self.rounds else until / 2) - self.used
        costs = itertools.accumulate(self._slice * 2 ** max(stage - 1, 0) for _, stage in entries)
        entries = entries[: max(sum(cost <= left for cost in costs), 1)]
        entering = {curve.name for curve, stage in entries if stage == 0}
        self.others = [curve for curve in self.others if curve.name not in entering]
        return entries

    def _train(self, curve: Curve, stage: int) -> None:
        self._curves[curve.name] = curve
        self._extend(curve, self._slice * GROWTH**stage)
        seconds = self.trained[curve.name]
        standing = self._standings.setdefault(curve.name, Standing(curve.name))
        standing.scores[stage:] = [curve.value(seconds)]
        standing.is_open = not curve.is_exhausted(seconds)

    def _extend(self, curve: Curve, seconds: float) -> None:
        before = self.trained.get(curve.name, 0.0)
        added = min(max(seconds - before, 0.0), max(self.budget - self.used, 0.0))
        self.trained[curve.name] = before + added
        self.used += added


def halving(order: Sequence[Curve], budget: float, constants: Constants = DEFAULTS) -> float:
    """Let candidates compete as in ``darts.find``; the best one trains for the other time."""
    baselines = [curve for curve in order if curve.is_baseline and not curve.has_setting]
    baselines = baselines or [order[0]]
    others = [curve for curve in order if curve not in baselines]
    race = Halving(budget, baselines, others, constants)
    race.explore(constants.explored * budget)
    winner = race.finish(budget)
    while budget - race.used > 1e-9:  # more training does not help: explore further
        rounds = race.rounds
        race.explore(budget)
        if race.rounds == rounds or race.best() is winner:
            break
        winner = race.finish(budget)
    best = race.best()
    return best.value(race.trained[best.name])


def freeze_thaw(order: Sequence[Curve], budget: float) -> float:
    """Alternate between new candidates and the best forecast; at the end, only the latter."""
    step = DEFAULTS.slice_seconds(order[0], budget)
    trained: dict[Curve, float] = {}
    waiting = list(order)
    used = 0.0

    def forecast(curve: Curve) -> float:
        return curve.forecast(trained[curve], trained[curve] + budget - used)

    while budget - used > 1e-9:
        explores = used < EXPLORED * budget and 2 * step * len(trained) <= used
        if waiting and (explores or not trained):
            chosen, seconds = waiting.pop(0), step
        else:
            chosen = max(trained, key=forecast)
            seconds = step if used < EXPLORED * budget else max(trained[chosen], step)
        seconds = min(seconds, budget - used)
        trained[chosen] = trained.get(chosen, 0.0) + seconds
        used += seconds
    best = max(trained, key=lambda curve: curve.rank(trained[curve]))
    return best.value(trained[best])


SHARES = 0.15, 0.15, 0.15  # of the budget, for baselines, proposals and settings


def stages(order: Sequence[Curve], budget: float) -> float:
    """Select in rounds that train from random weights, as ``darts.find`` did before the race.

    Rounds: the baselines; proposals and the two best baselines; settings and the best network; at
    the end, the best baseline and the two best others, with the time that is left.
    """
    groups: list[list[Curve]] = [[], [], []]
    for curve in order:
        groups[2 if curve.has_setting else 0 if curve.is_baseline else 1].append(curve)
    ranked: list[Curve] = []  # the best first
    used = 0.0
    for group, share, kept in zip(groups, SHARES, (0, 2, 1), strict=True):
        if group:
            entered = [*group, *ranked[:kept]]
            seconds = share * budget / len(entered)
            entered.sort(key=lambda curve: curve.rank(seconds), reverse=True)
            ranked = [*entered, *(curve for curve in ranked if curve not in entered)]
            used += share * budget
    baseline = next((curve for curve in ranked if curve.is_baseline), ranked[0])
    final = [baseline, *(curve for curve in ranked if curve is not baseline)][:3]
    return uniform(final, budget - used)


POLICIES: dict[str, Policy] = {
    "uniform": uniform,
    "first": first,
    "halving": halving,
    "freeze-thaw": freeze_thaw,
    "stages": stages,
}

CHANGES: dict[str, tuple[float, ...]] = {
    "explored": (0.1, 0.2, 0.4, 0.6),
    "slices": (16, 32, 128),
    "newcomers": (1, 2, 8),
    "longest": (0.02, 0.05, 0.2),
    "first_epochs": (0, 1, 10),
}
"""Other values of each constant."""

OTHERS: dict[str, Policy] = {
    f"{name}={value:g}": partial(halving, constants=replace(DEFAULTS, **{name: value}))  # type: ignore[arg-type]
    for name, values in CHANGES.items()
    for value in values
}
"""The race with one constant changed."""
