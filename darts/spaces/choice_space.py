"""Base class of the spaces whose genotypes make independent choices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darts.spaces.deriving import Candidates, best_columns, chain_mask, check_candidate, draw
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import Space


@dataclass
class ChoiceSpace(Space):
    """A space whose genotypes have one operation for each of a fixed number of choices.

    A point has one parameter for each choice, and each genotype is exactly one point.
    """

    @abstractmethod
    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the candidates of each choice by its name, in the order of the operations."""

    @abstractmethod
    def genotype_of(self, operations: Sequence[str]) -> Any:
        """Return the genotype with these operations."""

    def operations_of(self, genotype: Any) -> tuple[str, ...]:
        """Return the operations of a genotype; raise ValueError if they are not in this space."""
        operations: tuple[str, ...] = genotype.operations
        choices = self.choices()
        if len(operations) != len(choices):
            raise ValueError(
                f"the genotype has {len(operations)} operations, but space={self.name} has "
                f"{len(choices)}"
            )
        for operation, (name, candidates) in zip(operations, choices.items(), strict=True):
            check_candidate(operation, candidates, name)
        return operations

    def rows(self, candidates: Candidates) -> list[tuple[str, int]]:
        """Return the group and the row of the alphas of each choice."""
        return [(group, row) for group, names in candidates.items() for row in range(len(names))]

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Any:
        columns = best_columns(probabilities, candidates)
        rows = self.rows(candidates)
        names = [candidates[group][row][columns[group][row]] for group, row in rows]
        return self.genotype_of(names)

    def random(self, generator: torch.Generator) -> Any:
        return self.genotype_of([draw(generator, names) for names in self.choices().values()])

    def parameters(self) -> list[Parameter]:
        return [Parameter(name, Choice(tuple(names))) for name, names in self.choices().items()]

    def encode(self, genotype: Any) -> Point:
        return dict(zip(self.choices(), self.operations_of(genotype), strict=True))

    def decode(self, point: Mapping[str, Value]) -> Any:
        return self.genotype_of([str(point[name]) for name in self.choices()])

    def mask(self, genotype: Any, candidates: Candidates) -> dict[str, Tensor]:
        return chain_mask(self.operations_of(genotype), self.rows(candidates), candidates)
