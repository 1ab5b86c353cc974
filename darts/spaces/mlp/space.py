"""The mlp space.

References:
    Mendoza et al., "Towards Automatically-Tuned Neural Networks", AutoML workshop 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.registry import choice, number
from darts.spaces.deriving import Candidates, best_columns
from darts.spaces.mlp.derive import derive, mask_of
from darts.spaces.mlp.encoding import decode, encode, parameters, random_genotype
from darts.spaces.mlp.genotype import MAX_WIDTH, Genotype
from darts.spaces.mlp.layers import NORMALIZATIONS, check_choices
from darts.spaces.mlp.network import Network
from darts.spaces.mlp.pieces import expected_usage, pieces
from darts.spaces.mlp.supernet import Supernet
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.space import SPACES, Space


@SPACES.register
@dataclass
class Mlp(Space):
    """Fully connected networks: depth, and width and activation of each hidden layer.

    Samples of any shape are flattened.

    Attributes:
        cells: maximum number of hidden layers. A genotype defines its own number.
        widths: candidate widths of a hidden layer.
        activations: candidate activations of a hidden layer.
        normalization: normalization before each activation.
        dropout: dropout rate of the hidden units in training.

    Raises:
        ValueError: if an activation is unknown, or an activation or width occurs twice.
    """

    name: str = "mlp"
    supports_partial: ClassVar[bool] = False
    supports_compile: ClassVar[bool] = False
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows", "audio")
    cells: int = number(2, low=1)
    widths: list[int] = number([16, 32, 64, 128], low=1, high=MAX_WIDTH)
    activations: list[str] = field(default_factory=lambda: ["relu", "gelu", "silu", "tanh"])
    normalization: str = choice(NORMALIZATIONS[0], *NORMALIZATIONS)
    dropout: float = number(0.0, low=0, below=1)

    def __post_init__(self) -> None:
        check_choices(self.activations, self.widths)

    def in_channels(self, shape: Sequence[int]) -> int:
        """Return the number of values of a sample."""
        return math.prod(shape)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **options: Any
    ) -> Supernet:
        """Build the supernet, see ``Space.supernet``.

        Raises:
            ValueError: if the space does not support an option.
        """
        self.reject_options(
            depth=depth,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            depth_reason="each layer has its own alphas",
            skip_reason="its first layer cannot have one",
        )
        return Supernet(
            activations=self.activations,
            widths=self.widths,
            cells=self.cells,
            normalization=self.normalization,
            dropout=self.dropout,
            **options,
        )

    def network(self, genotype: Genotype, **options: Any) -> Network:
        return Network(genotype, normalization=self.normalization, dropout=self.dropout, **options)

    @classmethod
    def reference(cls, genotype: Genotype) -> Mlp:
        activations, widths = zip(*genotype.layer_specs, strict=True)
        return cls(
            cells=len(genotype.layers),
            widths=sorted(set(widths)),
            activations=list(dict.fromkeys(activations)),
        )

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        return derive(probabilities, candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        return random_genotype(generator, self.activations, self.widths, self.cells)

    def parameters(self) -> list[Parameter]:
        return parameters(self.activations, self.widths, self.cells)

    def encode(self, genotype: Genotype) -> Point:
        return encode(genotype, self.activations, self.widths, self.cells)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return decode(point)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def derived_mask(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Return which candidates ``derive`` uses.

        Skipped layers keep their positions here; a genotype does not record these positions.
        """
        return {
            group: F.one_hot(torch.tensor(columns), len(candidates[group][0])).bool()
            for group, columns in best_columns(probabilities, candidates).items()
        }

    def pieces(self, *, classes: int, image: Sequence[int]) -> Iterator[NetworkPiece]:
        return pieces(self.activations, self.widths, self.cells, self.normalization, classes, image)

    def expected_usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Return the probability of each candidate, and of each pair of consecutive widths."""
        return expected_usage(super().expected_usage(probabilities, candidates), len(self.widths))
