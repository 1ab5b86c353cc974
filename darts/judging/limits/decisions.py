"""The decisions that make up a genotype, and the operations that each of them can choose.

In most spaces, each edge is a decision for one operation. In spaces whose nodes keep a fixed number
of edges (``Space.fan_in``), each node is a decision for that many edges and their operations. A
genotype makes one choice for each decision, so the number of genotypes is a product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from darts.spaces import AnyGenotype, SearchContext, Space
from darts.spaces.deriving import Candidates

DROPPED = -1e6
"""Score of an operation with probability 0, which is chosen only if nothing else fits."""

ZEROS = "none"  # the operation that outputs zeros; a kept edge never has it

Entry = tuple[str, int, int]
"""A candidate: group, edge, column."""

Choice = tuple[int, ...]
"""The option that each decision chooses."""


@dataclass(frozen=True)
class GenotypeDecisions:
    """All decisions of the genotypes of a space.

    Attributes:
        space: The space.
        candidates: By group and edge, the operation of each column.
        options: For each decision, its options; an option consists of the candidates that it
            chooses.
    """

    space: Space
    candidates: Candidates
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
                    [entry for entry in own if rows[entry[1]][entry[2]] != ZEROS]
                    for own, target in zip(entries, targets, strict=True)
                    if target == node
                ]
                chosen = itertools.combinations(edges, min(keep, len(edges)))
                options.append([pick for own in chosen for pick in itertools.product(*own)])
        return cls(context.space, context.candidates, tuple(map(tuple, options)))

    @property
    def count(self) -> int:
        """Number of genotypes."""
        return math.prod(map(len, self.options))

    def scores(self, probabilities: Mapping[str, Tensor]) -> list[np.ndarray]:
        """Return the score of each option: the sum of the logarithms of its probabilities."""
        logs = {}
        for group, p in probabilities.items():
            own = p.detach().double().cpu()
            logs[group] = own.clamp_min(1e-300).log().where(own > 0, DROPPED).numpy()
        return self.sums(np.array([logs[group][edge, c] for group, edge, c in self.columns]))

    def sums(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the sums of values over the candidates of each option.

        Args:
            values: Values ``(candidates, ...)`` in the order of ``columns``.

        Returns:
            For each decision an array ``(options, ...)``.
        """
        return [values[index].sum(axis=1) for index in self._indices]

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
        return tuple(
            next(
                number
                for number, option in enumerate(options)
                if all(bool(masks[group][edge, column]) for group, edge, column in option)
            )
            for options in self.options
        )

    def features(self, choices: Sequence[Choice]) -> np.ndarray:
        """Return which candidates choices contain, ``(choices, candidates + 1)``.

        The last column is 1.
        """
        table = np.zeros((len(choices), len(self.columns) + 1))
        table[:, -1] = 1.0
        for row, choice in zip(table, choices, strict=True):
            for index, number in zip(self._indices, choice, strict=True):
                row[index[number]] = 1.0
        return table

    @cached_property
    def columns(self) -> dict[Entry, int]:
        """The column of each candidate in ``features``."""
        entries = dict.fromkeys(e for own in self.options for option in own for e in option)
        return {entry: column for column, entry in enumerate(entries)}

    @cached_property
    def _indices(self) -> list[np.ndarray]:
        """For each decision, the columns of the candidates of its options, ``(options, n)``."""
        return [
            np.array([[self.columns[entry] for entry in option] for option in own])
            for own in self.options
        ]
