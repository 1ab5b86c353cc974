"""Genotypes of the space ``module``: the chosen candidate of each choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import short_repr

MAX_CHOICES = 10_000


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The chosen candidate by key.

    Attributes:
        choices: Pairs ``(key, candidate)`` in the order of the model.

    Raises:
        ValueError: If the pairs are not strings, a key occurs twice, or there are none.
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
        """Parse the JSON text of a genotype.

        Raises:
            ValueError: Any other text; the message has one line.
        """
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{short_repr(text)} is not a genotype of space=module") from None
        choices = value.get("choices") if isinstance(value, dict) else None
        if not isinstance(choices, dict) or value.get("space") != cls.space:
            raise ValueError(
                f"{short_repr(text)} is not a genotype of space=module, which has the entries "
                "'space' and 'choices'"
            )
        return cls(tuple(choices.items()))

    def to_json(self) -> str:
        return json.dumps({"space": self.space, "choices": dict(self.choices)})

    def __str__(self) -> str:
        return self.to_json()
