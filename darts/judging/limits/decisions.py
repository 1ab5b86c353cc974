"""The decisions that make up a genotype, and costs as sums over what they choose.

In most spaces, each edge is a decision for one operation. In spaces whose nodes keep a fixed number
of edges (``Space.fan_in``), each node is a decision for that many edges and their operations. A
genotype makes one choice for each decision, so the number of genotypes is a product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
import torch
from torch import Tensor

from darts.searching.expected_cost import ExpectedCost
from darts.spaces import AnyGenotype, SearchContext, Space
from darts.spaces.deriving import Candidates
from darts.spaces.genotype import NONE

# Score of an operation with probability 0, which is chosen only if nothing else fits.
DROPPED = -1e6

# Random genotypes, in addition to those with each candidate, to which the sums are fitted.
FURTHER_SAMPLES = 100

# Relative error of a sum up to which it is the cost itself.
EXACT = 1e-9

# A candidate: group, edge, column.
Entry = tuple[str, int, int]

# The option that each decision chooses.
Choice = tuple[int, ...]


@dataclass(frozen=True)
class GenotypeDecisions:
    """All decisions of the genotypes of a space."""

    space: Space
    candidates: Candidates
    # For each decision, its options; an option consists of the candidates that it chooses.
    options: tuple[tuple[tuple[Entry, ...], ...], ...]

    @classmethod
    def of(cls, context: SearchContext) -> GenotypeDecisions:
        """Return the decisions of a search that has not started."""
        keep = context.space.fan_in
        options: list[list[tuple[Entry, ...]]] = []
        for group, rows in context.candidates.items():
            mask = context.masks.get(group)
            entries = [
                [(group, edge, c) for c in range(len(row)) if mask is None or bool(mask[edge, c])]
                for edge, row in enumerate(rows)
            ]
            if keep is None:
                options += [[(entry,) for entry in own] for own in entries]
                continue
            targets = context.targets[group]
            for node in dict.fromkeys(targets):
                edges = [
                    [entry for entry in own if rows[entry[1]][entry[2]] != NONE]
                    for own, target in zip(entries, targets, strict=True)
                    if target == node
                ]
                chosen = itertools.combinations(edges, min(keep, len(edges)))
                options.append([pick for own in chosen for pick in itertools.product(*own)])
        return cls(context.space, context.candidates, tuple(map(tuple, options)))

    def scores(self, probabilities: Mapping[str, Tensor]) -> list[np.ndarray]:
        """Return the score of each option: the sum of the logarithms of its probabilities."""
        logs = {}
        for group, p in probabilities.items():
            own = p.detach().double().cpu()
            logs[group] = own.clamp_min(1e-300).log().where(own > 0, DROPPED).numpy()
        return self.sums(np.array([logs[group][edge, c] for group, edge, c in self.columns]))

    def sums(self, values: np.ndarray) -> list[np.ndarray]:
        """Return for each decision the sums of values over the candidates of its options.

        Values are ``(candidates, ...)`` in the order of ``columns``, results ``(options, ...)``.
        """
        return [own @ values for own in self._contained]

    def restrict(self, choice: Choice) -> dict[str, Tensor]:
        """Return probabilities that are 1 for the candidates of a choice and 0 for all others."""
        kept = {
            group: torch.zeros(len(rows), len(rows[0]), dtype=torch.float64)
            for group, rows in self.candidates.items()
        }
        for options, number in zip(self.options, choice, strict=True):
            for group, edge, column in options[number]:
                kept[group][edge, column] = 1.0
        return kept

    def genotype(self, choice: Choice) -> AnyGenotype:
        """Return the genotype of a choice."""
        return self.space.derive(self.restrict(choice), self.candidates)

    def choice_of(self, masks: Mapping[str, Tensor]) -> Choice:
        """Return the choice of the candidates in masks ``(edges, operations)``."""
        kept = np.array([float(masks[group][edge, column]) for group, edge, column in self.columns])
        return tuple(int((own @ kept == own.sum(axis=1)).argmax()) for own in self._contained)

    def features(self, choices: Sequence[Choice]) -> np.ndarray:
        """Return which candidates choices contain, ``(choices, candidates + 1)``.

        The last column is 1.
        """
        picked = zip(self._contained, np.array(choices).T, strict=True)
        table = np.sum([own[numbers] for own, numbers in picked], axis=0)
        return np.column_stack([table, np.ones(len(choices))])

    @cached_property
    def columns(self) -> dict[Entry, int]:
        """The column of each candidate in ``features``."""
        entries = dict.fromkeys(e for own in self.options for option in own for e in option)
        return {entry: column for column, entry in enumerate(entries)}

    @cached_property
    def _contained(self) -> list[np.ndarray]:
        """For each decision, which candidates its options contain, ``(options, candidates)``."""
        tables = [np.zeros((len(own), len(self.columns))) for own in self.options]
        for table, own in zip(tables, self.options, strict=True):
            for row, option in zip(table, own, strict=True):
                row[[self.columns[entry] for entry in option]] = 1.0
        return tables


@dataclass(frozen=True)
class Sums:
    """Costs as a constant plus a sum over the candidates that a genotype chooses."""

    weights: np.ndarray  # (candidates, costs), in the order of ``GenotypeDecisions.columns``
    constants: np.ndarray  # (costs,), of what all genotypes share
    exact: bool  # whether the sums are the costs; otherwise they are close to them


def fit_sums(decisions: GenotypeDecisions, costs: Callable[[AnyGenotype], Sequence[float]]) -> Sums:
    """Fit sums to all costs of random genotypes by least squares."""
    draw = Random(0)
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
    return Sums(weights[:-1], weights[-1], exact)


def expected_cost(context: SearchContext, cost: Callable[[AnyGenotype], float]) -> ExpectedCost:
    """Return a cost of genotypes, averaged over probabilities, for penalties.

    The cost is written as a sum over the operations, which is an approximation for most fitted
    latency models. The search of the context has not started.
    """
    decisions = GenotypeDecisions.of(context)
    sums = fit_sums(decisions, lambda genotype: [cost(genotype)])
    usage = context.space.expected_usage(context.uniform(), context.candidates)
    tables = {group: torch.zeros_like(table) for group, table in usage.items()}
    for (group, edge, column), own in zip(decisions.columns, sums.weights, strict=True):
        tables[group][edge, column] = float(own[0])
    return ExpectedCost(float(sums.constants[0]), tables, context.space, context.candidates)
