"""Costs of genotypes as sums over their operations, fitted to any function of a genotype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch

from darts.judging.limits.decisions import Entry, GenotypeDecisions
from darts.searching.expected_cost import ExpectedCost
from darts.spaces import AnyGenotype, SearchContext

FURTHER_SAMPLES = 100
"""Random genotypes, in addition to those with each candidate, to which the sums are fitted."""

EXACT = 1e-9
"""Relative error of a sum up to which it is the cost itself."""


@dataclass(frozen=True)
class Sums:
    """Costs as a constant plus a sum over the candidates that a genotype chooses.

    Attributes:
        weights: Costs of the candidates ``(candidates, costs)``, in the order of
            ``GenotypeDecisions.columns``.
        constants: The costs of what all genotypes share ``(costs,)``.
        error: Largest error of each cost on the sampled genotypes ``(costs,)``.
        exact: Whether the sums are the costs; otherwise they are close to them.
    """

    weights: np.ndarray
    constants: np.ndarray
    error: np.ndarray
    exact: bool


def fit_sums(
    decisions: GenotypeDecisions, costs: Callable[[AnyGenotype], Sequence[float]], *, seed: int = 0
) -> Sums:
    """Fit sums to the costs of random genotypes by least squares.

    Args:
        decisions: The decisions that make up a genotype.
        costs: Function that returns all costs of a genotype.
        seed: Seed of the genotypes.
    """
    draw = Random(seed)
    sizes = [len(own) for own in decisions.options]
    drawn = [tuple(map(draw.randrange, sizes)) for _ in range(FURTHER_SAMPLES)]
    for decision, options in enumerate(decisions.options):
        seen: set[Entry] = set()
        for number, option in enumerate(options):
            if not seen.issuperset(option):
                seen.update(option)
                other = list(map(draw.randrange, sizes))
                other[decision] = number
                drawn.append(tuple(other))
    sampled = list(dict.fromkeys(drawn))
    truth = np.array([costs(decisions.genotype(choice)) for choice in sampled])
    features = decisions.features(sampled)
    weights, *_ = np.linalg.lstsq(features, truth, rcond=None)
    error = np.abs(features @ weights - truth).max(axis=0)
    exact = bool((error <= EXACT * np.abs(truth).max(axis=0)).all())
    return Sums(weights[:-1], weights[-1], error, exact)


def expected_cost(context: SearchContext, cost: Callable[[AnyGenotype], float]) -> ExpectedCost:
    """Return a cost of genotypes, averaged over probabilities, for penalties.

    The cost is written as a sum over the operations, which is an approximation for most fitted
    latency models.

    Args:
        context: Context of a search that has not started.
        cost: Function that returns the cost of a genotype.
    """
    decisions = GenotypeDecisions.of(context)
    sums = fit_sums(decisions, lambda genotype: [cost(genotype)])
    usage = context.space.expected_usage(context.uniform(), context.candidates)
    tables = {group: torch.zeros_like(table) for group, table in usage.items()}
    for (group, edge, column), own in zip(decisions.columns, sums.weights, strict=True):
        tables[group][edge, column] = float(own[0])
    return ExpectedCost(float(sums.constants[0]), tables, context.space, context.candidates)
