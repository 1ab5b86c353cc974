"""The best genotype within limits, by the probabilities of its operations.

A genotype that discretization would choose anyway is kept if it is within the limits. Otherwise the
costs are written as sums over the chosen operations, and an integer program finds the best choice.
MACs, parameters and looked-up latencies are such sums in most spaces. Other costs, such as most
fitted latencies, are only close to a sum: the result is then checked with the true cost, and the
limit of the sum is lowered until it holds.

References:
    Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004, chapter 11: the multiple-choice
    knapsack problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_diag, csr_array
from torch import Tensor

from darts.config import ConfigError
from darts.judging.limits.costs import describe_limits
from darts.judging.limits.decisions import EXACT, Choice, GenotypeDecisions, Sums, fit_sums
from darts.spaces import AnyGenotype

Cost = Callable[[AnyGenotype], float]

# How many choices by the sums are tried; each is checked with the true costs.
ROUNDS = 20

# Changes of one decision that are tried to improve the result of inexact sums.
POLISH = 300


class GenotypeLimits:
    """Restricts discretization to genotypes within limits.

    It implements ``darts.spaces.context.GenotypeLimit``. ``uniform`` are equal probabilities of all
    candidates of the space; ``useful`` says whether a genotype may be chosen at all.
    """

    def __init__(
        self,
        decisions: GenotypeDecisions,
        costs: Mapping[str, Cost],
        limits: Mapping[str, float],
        uniform: Mapping[str, Tensor],
        useful: Callable[[AnyGenotype], bool] = lambda genotype: True,
    ) -> None:
        self._useful = useful
        self.decisions, self.limits = decisions, dict(limits)
        self._costs = {name: cache(costs[name]) for name in limits}
        self._feasible = self._first_choice(uniform)

    def costs(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the limited costs of a genotype, by name."""
        return {name: cost(genotype) for name, cost in self._costs.items()}

    def allows(self, genotype: AnyGenotype) -> bool:
        """Return whether a genotype is useful and within all limits."""
        return self._useful(genotype) and all(
            self._costs[name](genotype) <= limit for name, limit in self.limits.items()
        )

    def restrict(self, probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return probabilities from which the space derives the best genotype within the limits.

        If the limits hold for the genotype of the given ones, ``(edges, operations)`` by group,
        they are returned. Otherwise all candidates outside the best genotype have probability 0.
        """
        given = {group: p.detach().double().cpu() for group, p in probabilities.items()}
        if self.allows(self.decisions.space.derive(given, self.decisions.candidates)):
            return dict(probabilities)
        scores = self.decisions.scores(given)
        choice = self._choose(scores) or self._polish(self._feasible, scores)
        # Equal probabilities, so that the space derives the very genotype that was checked.
        return self.decisions.restrict(choice)

    def _first_choice(self, uniform: Mapping[str, Tensor]) -> Choice:
        """Return a choice within the limits, so that a search always has one."""
        space, candidates = self.decisions.space, self.decisions.candidates
        if self.allows(space.derive(uniform, candidates)):
            return self.decisions.choice_of(space.derived_mask(uniform, candidates))
        choice = self._choose(self.decisions.scores(uniform))
        if choice is None:
            raise ConfigError(self._impossible())
        return choice

    def _fits(self, choice: Choice) -> bool:
        return self.allows(self.decisions.genotype(choice))

    @cached_property
    def _sums(self) -> Sums:
        return fit_sums(self.decisions, lambda genotype: list(self.costs(genotype).values()))

    @cached_property
    def _tables(self) -> list[np.ndarray]:
        """For each decision, the summands of its options ``(options, costs)``."""
        return self.decisions.sums(self._sums.weights)

    def _choose(self, scores: Sequence[np.ndarray]) -> Choice | None:
        limits = np.array(list(self.limits.values()))
        allowed = limits - self._sums.constants
        tried: list[Choice] = []
        while len(tried) < ROUNDS:
            # Rounding may turn a cost that equals its limit into one slightly above it.
            choice = best_choice(scores, self._tables, allowed + EXACT / 10 * limits, tried)
            if choice is None:
                break
            genotype = self.decisions.genotype(choice)
            if self.allows(genotype):
                return choice if self._sums.exact else self._polish(choice, scores)
            tried.append(choice)
            costs = self.costs(genotype)
            over = np.array([costs[name] for name in self.limits]) - limits
            if not self._sums.exact:
                allowed = allowed - np.maximum(over, 1e-3 * limits) * (over > 0)
        changes = self._changes(tried[-1], scores) if tried else ()
        found = next((own for own in changes if self._fits(own)), None)
        return None if found is None else self._polish(found, scores)

    def _polish(self, choice: Choice, scores: Sequence[np.ndarray]) -> Choice:
        """Return the choice after changes of single decisions that raise its score."""
        left = iter(range(POLISH))
        while True:
            changes = zip(self._changes(choice, scores, better=True), left, strict=False)
            better = next((other for other, _ in changes if self._fits(other)), None)
            if better is None:
                return choice
            choice = better

    def _changes(
        self, choice: Choice, scores: Sequence[np.ndarray], *, better: bool = False
    ) -> Iterator[Choice]:
        """Yield the choices that differ in one decision, those with the largest gain first."""
        gains = [
            (float(own[option] - own[chosen]), decision, option)
            for decision, (own, chosen) in enumerate(zip(scores, choice, strict=True))
            for option in range(len(own))
            if option != chosen
        ]
        for gain, decision, option in sorted(gains, reverse=True)[:POLISH]:
            if better and gain <= 0:
                return
            yield (*choice[:decision], option, *choice[decision + 1 :])

    def _impossible(self) -> str:
        space, sums = self.decisions.space.name, self._sums
        smallest = sums.constants + np.sum([own.min(axis=0) for own in self._tables], axis=0)
        least = dict(zip(self.limits, smallest, strict=True))
        about = "" if sums.exact else "about "
        needs = " and ".join(f"{name}={about}{value:.4g}" for name, value in least.items())
        together = ", not all at once" if len(least) > 1 else ""
        return (
            f"{describe_limits(self.limits)}: no network of space={space} is within the limits; "
            f"the smallest have {needs}{together}"
        )


def best_choice(
    scores: Sequence[np.ndarray],
    costs: Sequence[np.ndarray],
    limits: np.ndarray,
    excluded: Sequence[Sequence[int]] = (),
) -> tuple[int, ...] | None:
    """Return the option of each decision with the largest sum of scores within the limits.

    The result is None if no choice is within the limits, or all such choices are excluded.

    Args:
        scores: For each decision, the scores of its options ``(options,)``.
        costs: For each decision, the costs of its options ``(options, costs)``.
        limits: Largest sum of each cost ``(costs,)``; the solver may exceed it by a millionth.
        excluded: Choices that are not allowed.
    """
    sizes = np.array([len(own) for own in scores])
    starts = np.cumsum(sizes) - sizes
    table = np.concatenate(costs).T
    scale = np.maximum(np.abs(table).max(axis=1), 1e-300)  # the solver's tolerance is absolute
    constraints = [
        LinearConstraint(block_diag([np.ones((1, size)) for size in sizes], "csr"), 1, 1),
        LinearConstraint(table / scale[:, None], ub=limits / scale),
    ]
    if excluded:
        rows = np.repeat(np.arange(len(excluded)), len(sizes))
        columns = (np.array(excluded) + starts).reshape(-1)
        taken = csr_array((np.ones(len(rows)), (rows, columns)), (len(excluded), sizes.sum()))
        constraints.append(LinearConstraint(taken, ub=len(sizes) - 1))
    solved = milp(
        -np.concatenate(scores),
        integrality=np.ones(sizes.sum()),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0},
    )
    if solved.x is None:
        return None
    return tuple(int(own.argmax()) for own in np.split(solved.x, starts[1:]))
