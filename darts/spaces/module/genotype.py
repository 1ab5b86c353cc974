"""Genotypes of the space ``module``: the chosen candidate of each choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import read_json, short_repr

MAX_CHOICES = 10_000


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The chosen candidate by key.

    Attributes:
        choices: Pairs ``(key, candidate)`` in the order of the model.
    """

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
