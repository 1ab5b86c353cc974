"""Genotypes of the space ``module``, and the choices of a model from which they choose."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import read_json, short_repr
from darts.spaces.module.choice import BaseChoice

MAX_CHOICES = 10_000


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The chosen candidate by key, as pairs in the order of the model."""

    choices: tuple[tuple[str, str], ...]

    space: ClassVar[str] = "module"
    cells: ClassVar[tuple[str, ...]] = ("choices",)

    def __post_init__(self) -> None:
        pairs = tuple((key, name) for key, name in self.choices)
        object.__setattr__(self, "choices", pairs)
        if not 0 < len(pairs) <= MAX_CHOICES:
            raise ValueError(f"a genotype must have 1 to {MAX_CHOICES:,} choices, not {len(pairs)}")
        for pair in pairs:
            if not all(isinstance(text, str) and 0 < len(text) <= 1000 for text in pair):
                raise ValueError(f"a choice must be a key and a name, not {short_repr(pair)}")
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key of the genotype occurs twice")

    @property
    def operations(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.choices)

    @classmethod
    def parse(cls, text: str) -> Genotype:
        choices = read_json(text, cls.space, cls.cells)["choices"]
        if not isinstance(choices, dict):
            raise ValueError(f"choices must be a JSON object, not {short_repr(choices)}")
        return cls(tuple(choices.items()))

    def to_json(self) -> str:
        return json.dumps({"space": self.space, "choices": dict(self.choices)})


@dataclass(frozen=True)
class Row:
    """A row of the alphas: all choices with one key.

    A group has the rows of all choices with as many candidates.
    """

    key: str
    names: tuple[str, ...]
    group: str
    index: int
    choices: tuple[BaseChoice, ...]


def rows_of(model: nn.Module) -> list[Row]:
    """Return the rows of all choices in the order of the model.

    A choice without a key has its place in the model as its key. Another choice with this key
    therefore shares its alphas.
    """
    found: dict[str, list[BaseChoice]] = {}
    for path, module in model.named_modules():
        if isinstance(module, BaseChoice):
            found.setdefault(path if module.key is None else module.key, []).append(module)
    if not found:
        raise ValueError(
            f"{type(model).__name__} contains no darts.Choice, so there is nothing to search"
        )
    rows: list[Row] = []
    counts: Counter[str] = Counter()
    for key, choices in found.items():
        names = choices[0].names
        if any(choice.names != names for choice in choices):
            raise ValueError(
                f"the choices with the key {key!r} have different candidates: "
                + " and ".join(", ".join(choice.names) for choice in choices)
            )
        group = f"choices{len(names)}"
        rows.append(Row(key, names, group, counts[group], tuple(choices)))
        counts[group] += 1
    return rows


def with_chosen(module: nn.Module, chosen: dict[int, str]) -> nn.Module:
    """Replace every choice in a module by one of its candidates, in place, and return the module.

    ``chosen`` has the name of a candidate by ``id`` of a choice. If the module itself is a choice,
    the candidate is returned.
    """
    while isinstance(module, BaseChoice):
        module = module.chosen(chosen[id(module)])
    for name, child in module._modules.items():  # named_children() leaves out repeated modules
        if child is not None:
            module._modules[name] = with_chosen(child, chosen)
    return module
