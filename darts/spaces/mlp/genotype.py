"""The genotype of the mlp space: activation and width of each hidden layer, from input to output.

References:
    Mendoza et al., "Towards Automatically-Tuned Neural Networks", AutoML workshop 2016: depth, and
    width and activation of each layer, as what is searched in a fully connected network.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.genotype_text import brief, checked, read_part

SPACE = "mlp"
"""The ``"space"`` that a genotype's JSON names."""

ACTIVATIONS: tuple[str, ...] = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")

MAX_WIDTH = 65_536

_LAYER = re.compile(rf"({'|'.join(ACTIVATIONS)})_([1-9][0-9]{{0,9}})", re.ASCII)


@dataclass(frozen=True)
class Genotype:
    """A fully connected network, hidden layer by hidden layer.

    State 0 of the chain is the input, and state ``i + 1`` what hidden layer ``i`` puts out. A layer
    that a search skips is none of the genotype's, so that a network can be written in one way only.

    Attributes:
        layers: the layers as ``<activation>_<width>``. Lists are turned into tuples.

    Raises:
        ValueError: no layer, or one with an unknown activation or a width that is out of range.
    """

    layers: tuple[str, ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("layers",)
    inputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (list, tuple)):
            raise ValueError(f"layers must list hidden layers, not {brief(self.layers)}")
        if not self.layers:
            raise ValueError("a network of the mlp space has at least one hidden layer")
        for name in self.layers:
            split_name(name)
        object.__setattr__(self, "layers", tuple(self.layers))

    @property
    def parts(self) -> list[tuple[str, int]]:
        """``(activation, width)`` of each layer."""
        return [split_name(name) for name in self.layers]

    def nodes(self, cell: str = "layers") -> int:
        """How many hidden layers there are (``ValueError`` for an unknown cell)."""
        _check_cell(cell)
        return len(self.layers)

    def concat(self, cell: str = "layers") -> tuple[int, ...]:
        """The states that make the output: the last alone."""
        _check_cell(cell)
        return (len(self.layers),)

    def edges(self, cell: str = "layers") -> list[tuple[int, int, str]]:
        """``(state before, state behind, layer)`` of each layer."""
        _check_cell(cell)
        return [(number, number + 1, name) for number, name in enumerate(self.layers)]

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many layers are this one (``ValueError`` for an unknown cell)."""
        if cell is not None:
            _check_cell(cell)
        return self.layers.count(operation)

    def canonical(self) -> Genotype:
        """Itself: a genotype can be written in one way only."""
        return self

    def same_as(self, other: object) -> bool:
        """Whether both describe the same network."""
        return self == other

    def to_json(self) -> str:
        """JSON text; ``parse`` reads it back to an equal genotype."""
        return f'{{\n  "space": "{SPACE}",\n  "layers": {json.dumps(self.layers)}\n}}'

    def __str__(self) -> str:
        """JSON text in one line; ``parse`` reads it back to an equal genotype."""
        return json.dumps({"space": SPACE, "layers": self.layers})

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read ``{"space": "mlp", "layers": ["relu_64", ...]}``.

        Raises:
            ValueError: anything else, with a message of one line.
        """
        return cls(read_part(checked(text), SPACE, "layers"))


def split_name(name: object) -> tuple[str, int]:
    """Activation and width of a layer.

    Raises:
        ValueError: for what is no layer.
    """
    found = _LAYER.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            f"unknown layer {brief(name)}; a layer is <activation>_<width>, with an activation of "
            f"{', '.join(ACTIVATIONS)}"
        )
    activation, width = found[1], int(found[2])
    if width > MAX_WIDTH:
        raise ValueError(f"layer {brief(name)} is too wide; a width is at most {MAX_WIDTH}")
    return activation, width


def _check_cell(cell: object) -> None:
    if cell not in Genotype.cells:
        raise ValueError(f"unknown cell {brief(cell)}; choose from {', '.join(Genotype.cells)}")
