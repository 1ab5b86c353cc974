"""The space of a model of your own: the candidates of its choices."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import Candidates, chain_mask
from darts.spaces.module.costs import pieces
from darts.spaces.module.genotype import Genotype
from darts.spaces.module.supernet import Network, Supernet, require_keys
from darts.spaces.module.targets import build, example
from darts.spaces.network import NetworkPiece
from darts.spaces.space import SPACES
from darts.spaces.supernet import SupernetBase


@SPACES.register
@dataclass
class Module(ChoiceSpace):
    """The architectures of a PyTorch model that contains choices.

    Attributes:
        target: Place of the model's class, ``package.module:Class``. The class is called without
            arguments, or with the ones of ``classes`` and ``in_channels`` that it takes.
    """

    name: str = "module"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    supports_partial: ClassVar[bool] = False
    supports_skip_dropout: ClassVar[bool] = False
    skip_operation: ClassVar[str | None] = None
    skip_operations: ClassVar[tuple[str, ...]] = ()
    weightless_operations: ClassVar[tuple[str, ...]] = ()
    retrain_keys: ClassVar[tuple[str, ...]] = ("target",)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "audio", "rows")
    cells: int = number(1, low=1, high=1)  # the model defines its depth
    target: str = ""

    def supernet(self, **options: Any) -> Supernet:
        sizes = self.supported(options, depth=1, partial=1, auxiliary_skip=0)
        return Supernet(build(self.target, sizes), sizes["classes"])

    def network(self, genotype: Genotype, **options: Any) -> Network:
        sizes = self.supported(options, auxiliary=0, drop_path=0)
        return Network(genotype, build(self.target, sizes), sizes["classes"])

    def inherit(self, genotype: Genotype, supernet: SupernetBase) -> Network:
        assert isinstance(supernet, Supernet)
        return Network(genotype, copy.deepcopy(supernet.model), supernet.classes)

    def choices(self) -> dict[str, tuple[str, ...]]:
        return {row.key: row.names for row in example(self.target).rows}

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return Genotype(tuple(zip(self.choices(), operations, strict=True)))

    def operations_of(self, genotype: Genotype) -> tuple[str, ...]:
        require_keys(genotype, self.choices())
        chosen = dict(genotype.choices)
        return tuple(chosen[key] for key in self.choices())

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return chain_mask(self.operations_of(genotype), self.rows(candidates), candidates)

    def rows(self, candidates: Candidates) -> list[tuple[str, int]]:
        return [(row.group, row.index) for row in example(self.target).rows]

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        sizes = {"classes": classes, "in_channels": self.in_channels(sample_shape)}
        return pieces(build(self.target, sizes), sample_shape)

    def expected_usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Return the probability that a network has each candidate.

        A choice inside of candidates of another choice is part of the network only if the other one
        chooses one of them.
        """
        usage = super().expected_usage(probabilities, candidates)
        factors = {group: torch.ones_like(table[:, :1]) for group, table in usage.items()}
        for (group, index), own in example(self.target).conditions.items():
            for other in own:
                probability = usage[other.group][other.index, list(other.columns)].sum()
                row = torch.arange(len(factors[group]), device=probability.device) == index
                factors[group] = torch.where(
                    row[:, None], factors[group] * probability, factors[group]
                )
        return {group: table * factors[group] for group, table in usage.items()}
