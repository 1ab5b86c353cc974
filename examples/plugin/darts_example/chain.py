"""A chain of layers: each is a 1x1 convolution, a 3x3 convolution or the identity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import number
from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.deriving import Candidates
from darts.spaces.mixture import as_mixture
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import SPACES, Space
from darts.spaces.supernet import SupernetBase

OPERATIONS = ("skip_connect", "conv_1x1", "conv_3x3")


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The operation of each layer."""

    layers: tuple[str, ...]

    space: ClassVar[str] = "chain"
    cells: ClassVar[tuple[str, ...]] = ("layers",)
    vocabulary: ClassVar[tuple[str, ...]] = OPERATIONS

    @property
    def operations(self) -> tuple[str, ...]:
        return self.layers

    def to_json(self) -> str:
        return json.dumps({"space": "chain", "layers": list(self.layers)})

    def __str__(self) -> str:
        return self.to_json()


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

    space = "chain"

    def __init__(self, channels: int, layers: int, classes: int, in_channels: int) -> None:
        super().__init__()
        self.candidates = {"layers": (OPERATIONS,) * layers}
        self.edges = {"layers": tuple((index, index + 1) for index in range(layers))}
        self.counts = {"layers": 1}
        self.shapes = {"layers": (layers, len(OPERATIONS))}
        self.stem = stem(in_channels, channels)
        self.layers = nn.ModuleList(
            nn.ModuleList(layer(name, channels, affine=False) for name in OPERATIONS)
            for _ in range(layers)
        )
        self.classifier = nn.Linear(channels, classes)
        start = 1e-3 * torch.randn(layers, len(OPERATIONS))
        self.alphas = nn.ParameterDict({"layers": nn.Parameter(start)})

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        if weights is None:
            weights = {"layers": self.alphas["layers"].softmax(-1)}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        rows, _, active = mixture.of_cell("layers", 0)
        x = self.stem(images)
        for index, (operations, row) in enumerate(zip(self.layers, rows.unbind(), strict=True)):
            columns = range(len(OPERATIONS)) if active is None else active[index]
            x = torch.stack([row[column] * operations[column](x) for column in columns]).sum(0)
        return self.classifier(x.mean((2, 3)))


class Network(NetworkBase):
    """The chain of a genotype."""

    def __init__(self, genotype: Genotype, channels: int, classes: int, in_channels: int) -> None:
        super().__init__(genotype)
        layers = (layer(name, channels, affine=True) for name in genotype.layers)
        self.body = nn.Sequential(stem(in_channels, channels), *layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor, auxiliary: bool = False) -> Any:
        logits = self.classifier(self.body(images).mean((2, 3)))
        return (logits, None) if auxiliary else logits


@SPACES.register
@dataclass
class Chain(Space):
    """A chain of ``cells`` layers."""

    name: str = "chain"
    channels: int = number(16, low=1)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **options: Any
    ) -> Supernet:
        if partial > 1 or auxiliary_skip or depth != 1:
            raise ValueError(
                "space=chain has no partial channels, auxiliary skip connections or other depths"
            )
        return Supernet(self.channels, self.cells, **options)

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **options: Any
    ) -> Network:
        if auxiliary or drop_path > 0:
            raise ValueError("space=chain has no auxiliary head and no drop path; set both to 0")
        return Network(genotype, self.channels, **options)

    def parse(self, text: str) -> Genotype:
        try:
            layers = tuple(json.loads(text)["layers"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{text[:60]!r} is not a genotype of a chain") from None
        if not set(layers) <= set(OPERATIONS):
            raise ValueError(f"operations of a chain must be in {OPERATIONS}, got {layers}")
        return Genotype(layers)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        best = probabilities["layers"].argmax(-1).tolist()
        return Genotype(tuple(OPERATIONS[column] for column in best))

    def random(self, generator: torch.Generator) -> Genotype:
        columns = torch.randint(len(OPERATIONS), (self.cells,), generator=generator)
        return Genotype(tuple(OPERATIONS[column] for column in columns.tolist()))

    def parameters(self) -> list[Parameter]:
        return [Parameter(f"layer{n}", Choice(OPERATIONS)) for n in range(self.cells)]

    def encode(self, genotype: Genotype) -> Point:
        return {f"layer{n}": name for n, name in enumerate(genotype.layers)}

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return Genotype(tuple(str(name) for name in point.values()))

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        rows = [[name == kept for name in OPERATIONS] for kept in genotype.layers]
        return {"layers": torch.tensor(rows)}

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        width = self.channels
        yield NetworkPiece(partial(stem, sample_shape[0], width), tuple(sample_shape))
        shape = (width, *(-(-side // 2) for side in sample_shape[1:]))
        for edge in range(self.cells):
            for column, name in enumerate(OPERATIONS):
                place = ("layers", edge, column)
                yield NetworkPiece(partial(layer, name, width, True), shape, place)
        yield NetworkPiece(partial(nn.Linear, width, classes), (width,))
