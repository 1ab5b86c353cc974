"""The space of a model of your own: the candidates of its choices."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.deriving import Candidates, best_columns, mask_row
from darts.spaces.module.costs import pieces
from darts.spaces.module.genotype import Genotype
from darts.spaces.module.supernet import Network, Supernet, require_keys
from darts.spaces.module.targets import build, conditions, rows
from darts.spaces.network import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import SPACES, Space
from darts.spaces.supernet import SupernetBase


@SPACES.register
@dataclass
class Module(Space):
    """The architectures of a PyTorch model that contains choices.

    Attributes:
        target: Place of the model's class, ``package.module:Class``. The class is called without
            arguments, or with those of ``classes`` and ``in_channels`` that it takes.
    """

    name: str = "module"
    supports_partial: ClassVar[bool] = False
    supports_skip_dropout: ClassVar[bool] = False
    skip_operation: ClassVar[str | None] = None
    skip_operations: ClassVar[tuple[str, ...]] = ()
    weightless_operations: ClassVar[tuple[str, ...]] = ()
    retrain_keys: ClassVar[tuple[str, ...]] = ("target",)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "audio", "rows")
    cells: int = number(1, low=1, high=1)  # the model defines its depth
    target: str = ""

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> Supernet:
        self.reject_options(
            depth=depth,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            depth_reason="the model defines its depth",
            skip_reason="the model defines its candidates",
        )
        return Supernet(build(self.target, sizes), sizes["classes"])

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **sizes: int
    ) -> Network:
        if auxiliary or drop_path > 0:
            raise ValueError(
                "space=module: the model defines its heads and dropout; set auxiliary=0 and "
                "drop_path=0"
            )
        return Network(genotype, build(self.target, sizes), sizes["classes"])

    def inherit(self, genotype: Genotype, supernet: SupernetBase) -> Network:
        assert isinstance(supernet, Supernet)
        return Network(genotype, copy.deepcopy(supernet.model), supernet.classes)

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        columns = best_columns(probabilities, candidates)
        return Genotype(
            tuple((row.key, row.names[columns[row.group][row.index]]) for row in rows(self.target))
        )

    def random(self, generator: torch.Generator) -> Genotype:
        def draw(names: Sequence[str]) -> str:
            column = torch.randint(len(names), (), generator=generator, device=generator.device)
            return names[int(column)]

        return Genotype(tuple((row.key, draw(row.names)) for row in rows(self.target)))

    def parameters(self) -> list[Parameter]:
        return [Parameter(row.key, Choice(row.names)) for row in rows(self.target)]

    def encode(self, genotype: Genotype) -> Point:
        require_keys(genotype, {row.key: row.names for row in rows(self.target)})
        return dict(genotype.choices)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return Genotype(tuple((row.key, str(point[row.key])) for row in rows(self.target)))

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        require_keys(genotype, {row.key: row.names for row in rows(self.target)})
        chosen = dict(genotype.choices)
        masks: dict[str, list[list[bool]]] = {group: [] for group in candidates}
        for row in rows(self.target):
            masks[row.group].append(mask_row(chosen[row.key], row.names, f"of {row.key}"))
        return {group: torch.tensor(table) for group, table in masks.items()}

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
        for (group, index), own in conditions(self.target).items():
            for other in own:
                probability = usage[other.group][other.index, list(other.columns)].sum()
                row = torch.arange(len(factors[group]), device=probability.device) == index
                factors[group] = torch.where(
                    row[:, None], factors[group] * probability, factors[group]
                )
        return {group: table * factors[group] for group, table in usage.items()}
