"""A chain of layers: each is a 1x1 convolution, a 3x3 convolution or the identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import number
from darts.spaces.any_genotype import AnyGenotype, ChainGenotype
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.genotype_text import entries_of
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.space import SPACES
from darts.spaces.supernet import SupernetBase

OPERATIONS = ("skip_connect", "conv_1x1", "conv_3x3")


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The operation of each layer."""

    layers: tuple[str, ...]

    space: ClassVar[str] = "chain"
    cells: ClassVar[tuple[str, ...]] = ("layers",)
    vocabulary: ClassVar[tuple[str, ...]] = OPERATIONS

    def __post_init__(self) -> None:
        layers = entries_of("layers", self.layers)
        for name in layers:
            self.check_operation(name)
        object.__setattr__(self, "layers", layers)


def layer(name: str, channels: int, affine: bool) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity()
    size = int(name[-1])
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def stem(in_channels: int, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )


class Supernet(SupernetBase):
    """A chain in which every layer is the weighted sum of its operations."""

    def __init__(self, channels: int, layers: int, classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = stem(in_channels, channels)
        self.layers = nn.ModuleList(
            nn.ModuleList(layer(name, channels, affine=False) for name in OPERATIONS)
            for _ in range(layers)
        )
        self.classifier = nn.Linear(channels, classes)
        self.set_chain([("layers", OPERATIONS)] * layers)

    def forward(self, images: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        x = self.stem(images)
        for operations, (row, active) in zip(self.layers, self.chain_weights(mixture), strict=True):
            x = torch.stack([row[column] * operations[column](x) for column in active]).sum(0)
        return self.classifier(x.mean((2, 3)))


class Network(NetworkBase):
    """The chain of a genotype."""

    def __init__(self, genotype: Genotype, channels: int, classes: int, in_channels: int) -> None:
        super().__init__(genotype)
        layers = (layer(name, channels, affine=True) for name in genotype.layers)
        self.body = nn.Sequential(stem(in_channels, channels), *layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images).mean((2, 3)))


@SPACES.register
@dataclass
class Chain(ChoiceSpace):
    """A chain of ``cells`` layers."""

    name: str = "chain"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    channels: int = number(16, low=1)

    def supernet(self, **options: Any) -> Supernet:
        sizes = self.supported(options, depth=1, partial=1, auxiliary_skip=0)
        return Supernet(self.channels, self.cells, **sizes)

    def network(self, genotype: Genotype, **options: Any) -> Network:
        sizes = self.supported(options, auxiliary=0, drop_path=0)
        return Network(genotype, self.channels, **sizes)

    def choices(self) -> dict[str, Sequence[str]]:
        return {f"layer{n}": OPERATIONS for n in range(self.cells)}

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return Genotype(tuple(operations))

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        width = self.channels
        yield NetworkPiece(partial(stem, sample_shape[0], width), tuple(sample_shape))
        shape = (width, *(-(-side // 2) for side in sample_shape[1:]))
        for edge in range(self.cells):
            for column, name in enumerate(OPERATIONS):
                place = ("layers", edge, column)
                yield NetworkPiece(partial(layer, name, width, True), shape, place)
        yield NetworkPiece(partial(nn.Linear, width, classes), (width,))
