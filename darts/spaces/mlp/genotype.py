"""Genotypes of the mlp space: the activation and width of each hidden layer, in order.

References:
    Mendoza et al., "Towards Automatically-Tuned Neural Networks", AutoML workshop 2016: search of
    the depth, and of the width and activation of each layer, of fully connected networks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import read_json_field, short_repr, strip_text

SPACE = "mlp"
"""The value of ``"space"`` in a genotype's JSON."""

ACTIVATIONS: tuple[str, ...] = (
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "tanh",
    "sigmoid",
    "identity",  # a network of such layers is a linear model
)

MAX_WIDTH = 65_536
"""Maximum width of a hidden layer."""

_LAYER_PATTERN = re.compile(rf"({'|'.join(ACTIVATIONS)})_([1-9][0-9]{{0,9}})", re.ASCII)


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The hidden layers of a fully connected network.

    State 0 is the input, and state ``i + 1`` the output of ``layers[i]``. A genotype does not
    contain the layers that a search skips, so every network has exactly one genotype.

    Attributes:
        layers: The layers as ``<activation>_<width>``. Lists are converted to tuples.

    Raises:
        ValueError: No layer, an unknown activation, or a width out of range.
    """

    layers: tuple[str, ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("layers",)

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (list, tuple)):
            raise ValueError(f"layers must list hidden layers, not {short_repr(self.layers)}")
        if not self.layers:
            raise ValueError("a network of the mlp space has at least one hidden layer")
        for name in self.layers:
            parse_layer(name)
        object.__setattr__(self, "layers", tuple(self.layers))

    @property
    def layer_specs(self) -> list[tuple[str, int]]:
        """``(activation, width)`` of each layer."""
        return [parse_layer(name) for name in self.layers]

    @property
    def operations(self) -> tuple[str, ...]:
        """The hidden layers, in order."""
        return self.layers

    def to_json(self) -> str:
        return f'{{\n  "space": "{SPACE}",\n  "layers": {json.dumps(self.layers)}\n}}'

    def __str__(self) -> str:
        """Return JSON text in one line; ``parse`` is the inverse."""
        return json.dumps({"space": SPACE, "layers": self.layers})

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Parse ``{"space": "mlp", "layers": ["relu_64", ...]}``.

        Raises:
            ValueError: The text is not such a genotype; the message has one line.
        """
        return cls(read_json_field(strip_text(text), SPACE, "layers"))


def parse_layer(name: object) -> tuple[str, int]:
    """Return the activation and width of a layer ``<activation>_<width>``.

    Raises:
        ValueError: The name is not of this form, or the width is above ``MAX_WIDTH``.
    """
    match = _LAYER_PATTERN.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(
            f"unknown layer {short_repr(name)}; a layer is <activation>_<width>, and the "
            f"activation is one of {', '.join(ACTIVATIONS)}"
        )
    activation, width = match[1], int(match[2])
    if width > MAX_WIDTH:
        raise ValueError(f"layer {short_repr(name)}: the width must be at most {MAX_WIDTH}")
    return activation, width
