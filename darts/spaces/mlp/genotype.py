"""Genotypes of the mlp space: the activation and width of each hidden layer, in order.

References:
    Mendoza et al., "Towards Automatically-Tuned Neural Networks", AutoML workshop 2016: search of
    the depth, and of the width and activation of each layer, of fully connected networks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import entries_of, short_repr

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,  # a network of such layers is a linear model
}

MAX_WIDTH = 65_536  # of a hidden layer

_LAYER_PATTERN = re.compile(rf"({'|'.join(ACTIVATIONS)})_([1-9][0-9]{{0,9}})", re.ASCII)


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The hidden layers of a fully connected network.

    A layer is ``<activation>_<width>``. Layers that a search skips are left out, so every network
    has exactly one genotype.
    """

    layers: tuple[str, ...]

    space: ClassVar[str] = "mlp"
    cells: ClassVar[tuple[str, ...]] = ("layers",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", entries_of("layers", self.layers))
        for name in self.layers:
            parse_layer(name)

    @property
    def layer_specs(self) -> list[tuple[str, int]]:
        """``(activation, width)`` of each layer."""
        return [parse_layer(name) for name in self.layers]


def parse_layer(name: object) -> tuple[str, int]:
    """Return the activation and width of a layer; raise ValueError for an invalid name."""
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
