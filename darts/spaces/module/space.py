"""The space of a model of your own: the candidates of its choices.

The supernet is the model, whose choices mix their candidates.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import number
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import ByGroup, Candidates, check_candidate
from darts.spaces.module.costs import pieces
from darts.spaces.module.genotype import Genotype, rows_of, with_chosen
from darts.spaces.module.targets import PassedModel, build, example
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.space import SPACES
from darts.spaces.supernet import ParameterRows, SupernetBase


class Supernet(SupernetBase):
    """A model with alphas for its choices; maps a batch of samples to logits ``(B, classes)``."""

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes, self.rows = model, classes, rows_of(model)
        self.set_chain((row.group, row.names) for row in self.rows)

    def forward(self, samples: Tensor, mixture: ByGroup | None = None) -> Tensor:
        for row, weights in zip(self.rows, self.chain_weights(mixture), strict=True):
            for choice in row.choices:
                choice.mix(*weights)
        try:
            logits: Tensor = self.model(samples)
        finally:
            for row in self.rows:
                for choice in row.choices:
                    choice.mix(None)  # the graph of this pass must not outlive it
        return _checked(logits, samples, self.classes, self.model)

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        found: dict[str, list[ParameterRows]] = {}
        for row in self.rows:
            for place, choice in enumerate(row.choices):
                owned: set[nn.Parameter] = set()  # by a smaller number of blocks of a Repeat
                for name in choice.names:
                    own = [p for p in choice.chosen(name).parameters() if p not in owned]
                    owned.update(own)
                    weights = [ParameterRows(p, 0, len(p)) for p in own if p.ndim > 1]
                    if weights:
                        found[f"{row.key}.{place}.{name}"] = weights
        return found


class Network(NetworkBase):
    """The model of a genotype: each choice is replaced by its chosen candidate.

    The argument ``model`` must be new, because it is changed in place.
    """

    def __init__(self, genotype: Genotype, model: nn.Module, classes: int) -> None:
        super().__init__(genotype)
        rows, names = rows_of(model), dict(genotype.choices)
        require_keys(genotype, {row.key: row.names for row in rows})
        chosen = {id(choice): names[row.key] for row in rows for choice in row.choices}
        self.model, self.classes = with_chosen(model, chosen), classes

    def forward(self, samples: Tensor) -> Tensor:
        return _checked(self.model(samples), samples, self.classes, self.model)

    def plain(self) -> nn.Module:
        return self.model


@dataclass
class ModelSpace(ChoiceSpace):
    """The architectures of a PyTorch model that contains choices."""

    genotype: ClassVar[type[Genotype]] = Genotype
    supports_skip_dropout: ClassVar[bool] = False
    skip_operation: ClassVar[str | None] = None
    cells: int = number(1, low=1, high=1)  # the model defines its depth

    @abstractmethod
    def model(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return a new model for the sizes ``classes`` and ``in_channels`` of the data."""

    @abstractmethod
    def example(self) -> PassedModel:
        """Return a model that is not run; the state of random generators stays as it is."""

    def supernet(self, **options: Any) -> Supernet:
        sizes = self.supported(options, depth=1, partial=1, auxiliary_skip=0)
        return Supernet(self.model(sizes), sizes["classes"])

    def network(self, genotype: Genotype, **options: Any) -> Network:
        sizes = self.supported(options, auxiliary=0, drop_path=0)
        return Network(genotype, self.model(sizes), sizes["classes"])

    def inherit(self, genotype: Genotype, supernet: SupernetBase) -> Network:
        assert isinstance(supernet, Supernet)
        return Network(genotype, copy.deepcopy(supernet.model), supernet.classes)

    def choices(self) -> dict[str, tuple[str, ...]]:
        return {row.key: row.names for row in self.example().rows}

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return self.genotype(tuple(zip(self.choices(), operations, strict=True)))

    def operations_of(self, genotype: Genotype) -> tuple[str, ...]:
        require_keys(genotype, self.choices())
        chosen = dict(genotype.choices)
        return tuple(chosen[key] for key in self.choices())

    def rows(self, candidates: Candidates) -> list[tuple[str, int]]:
        return [(row.group, row.index) for row in self.example().rows]

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        sizes = {"classes": classes, "in_channels": self.in_channels(sample_shape)}
        return pieces(self.model(sizes), sample_shape)

    def expected_usage(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        # A choice inside of candidates of another choice is part of the network only if the other
        # one chooses one of them.
        usage = super().expected_usage(probabilities, candidates)
        rows = {group: [*table.unbind()] for group, table in usage.items()}
        for (group, index), own in self.example().conditions.items():
            for other in own:
                probability = usage[other.group][other.index, list(other.columns)].sum()
                rows[group][index] = rows[group][index] * probability
        return {group: torch.stack(own) for group, own in rows.items()}


@SPACES.register
@dataclass
class Module(ModelSpace):
    """The architectures of a model of your own.

    Attributes:
        target: Place of the model's class, ``package.module:Class``. The class is called without
            arguments, or with the ones of ``classes`` and ``in_channels`` that it takes.
    """

    name: str = "module"
    skip_operations: ClassVar[tuple[str, ...]] = ()
    weightless_operations: ClassVar[tuple[str, ...]] = ()
    retrain_keys: ClassVar[tuple[str, ...]] = ("target",)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "audio", "rows")
    target: str = ""

    def model(self, sizes: Mapping[str, int]) -> nn.Module:
        return build(self.target, sizes)

    def example(self) -> PassedModel:
        return example(self.target)


def require_keys(genotype: Genotype, names: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ValueError unless a genotype chooses one of the ``names`` of each key."""
    chosen = dict(genotype.choices)
    if unknown := [key for key in chosen if key not in names]:
        raise ValueError(f"the model has no choice {unknown[0]!r}; it has {', '.join(names)}")
    for key, allowed in names.items():
        if key not in chosen:
            raise ValueError(f"the genotype chooses nothing for {key!r}")
        check_candidate(chosen[key], allowed, repr(key))


def _checked(logits: object, samples: Tensor, classes: int, model: nn.Module) -> Tensor:
    if not isinstance(logits, Tensor) or logits.shape != (samples.shape[0], classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"{type(model).__name__} returns {found} for {len(samples)} samples, but the data has "
            f"{classes} classes; it must return logits ({len(samples)}, {classes})"
        )
    return logits
