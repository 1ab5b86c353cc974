"""The cell-based space as a part of a method.

References:
    DARTS, arXiv:1806.09055, section 3.1; its subsets S1 to S4: Zela et al., "Understanding and
    Robustifying Differentiable Architecture Search", arXiv:1909.09656, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.registry import choice, number
from darts.spaces.cnn.derive import Candidates, derive, mask_of
from darts.spaces.cnn.edgewise import candidates_of
from darts.spaces.cnn.encoding import decode, encode, parameters, random_genotype
from darts.spaces.cnn.network import Network
from darts.spaces.cnn.pieces import pieces
from darts.spaces.cnn.published import PUBLISHED
from darts.spaces.cnn.subsets import SUBSETS
from darts.spaces.cnn.supernet import Supernet
from darts.spaces.genotype import Genotype
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.piece import Piece
from darts.spaces.space import SPACES, Space

NODES = 4


@SPACES.register
@dataclass
class Cnn(Space):
    """Two kinds of cells of four nodes, stacked ``cells`` deep.

    Attributes:
        stem: for small images, or one that makes large ones small.
        candidates: all eight operations, or one of the subsets S1 to S4.
    """

    name: str = "cnn"
    fan_in: ClassVar[int | None] = 2
    kept: ClassVar[tuple[str, ...]] = ("stem",)
    weightless: ClassVar[tuple[str, ...]] = (
        *("none", "skip_connect", "max_pool_3x3", "avg_pool_3x3"),
        "noise",
    )
    published: ClassVar[Mapping[str, Any]] = PUBLISHED
    channels: int = number(16, low=1)
    cells: int = number(8, low=1)
    stem: str = choice("small", "small", "imagenet")
    candidates: str = choice("all", *SUBSETS)

    def supernet(self, *, depth: float = 1.0, **options: Any) -> Supernet:
        return Supernet(
            channels=self.channels,
            cells=self.deep(depth),
            nodes=NODES,
            operations=SUBSETS[self.candidates],
            stem=self.stem,
            **options,
        )

    def network(self, genotype: Genotype, *, auxiliary: bool = False, **options: Any) -> Network:
        return Network(
            genotype,
            channels=self.channels,
            cells=self.cells,
            stem=self.stem,
            auxiliary=auxiliary,
            **options,
        )

    @classmethod
    def standard(cls, genotype: Genotype) -> Cnn:
        return cls(channels=36, cells=20)

    @classmethod
    def recognizes(cls, text: str) -> bool:
        return "Genotype(" in text

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        return derive(probabilities, candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        return random_genotype(generator, NODES, self.rows)

    @property
    def rows(self) -> Candidates:
        """By kind of cell, the operations of each edge."""
        return candidates_of(SUBSETS[self.candidates], NODES)

    def parameters(self) -> list[Parameter]:
        return parameters(self.rows)

    def encode(self, genotype: Genotype) -> Point:
        return encode(genotype, self.rows)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return decode(point, self.rows)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def pieces(self, *, classes: int, image: Sequence[int]) -> Iterator[Piece]:
        return pieces(
            self.rows,
            channels=self.channels,
            cells=self.cells,
            stem=self.stem,
            classes=classes,
            image=image,
        )

    def usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Two edges a node, shared out by their probability of any operation but ``none``.

        A kept edge carries one of these operations, never ``none``.
        """
        shares = {}
        for group, p in probabilities.items():
            chosen = torch.tensor([[name != "none" for name in row] for row in candidates[group]])
            p = p * chosen.to(p.device)
            strength = p.sum(-1)
            sizes = list(range(2, NODES + 2))
            parts = [2 * part / part.sum().clamp_min(1e-12) for part in strength.split(sizes)]
            kept = torch.cat(parts).clamp_max(1.0)
            shares[group] = kept[:, None] * p / strength[:, None].clamp_min(1e-12)
        return shares
