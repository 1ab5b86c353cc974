"""The cell-based space.

References:
    DARTS, arXiv:1806.09055, section 3.1. Candidate sets S1 to S4: Zela et al., "Understanding and
    Robustifying Differentiable Architecture Search", arXiv:1909.09656, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darts.registry import choice, number
from darts.spaces.cnn.candidate_sets import CANDIDATE_SETS
from darts.spaces.cnn.derive import derive, mask_of
from darts.spaces.cnn.edgewise import candidates_of
from darts.spaces.cnn.encoding import decode, encode, parameters, random_genotype
from darts.spaces.cnn.network import Network
from darts.spaces.cnn.pieces import pieces
from darts.spaces.cnn.published import PUBLISHED
from darts.spaces.cnn.supernet import Supernet
from darts.spaces.deriving import Candidates
from darts.spaces.genotype import Genotype
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.published import PublishedGenotype
from darts.spaces.space import SPACES, Space

NODES = 4


@SPACES.register
@dataclass
class Cnn(Space):
    """A stack of ``cells`` normal and reduction cells with four nodes each.

    Attributes:
        channels: width of the first cell's nodes.
        stem: "small" keeps the image size; "imagenet" divides it by 8.
        candidates: "all" eight operations, or one of the candidate sets "s1" to "s4".
    """

    name: str = "cnn"
    fan_in: ClassVar[int | None] = 2
    retrain_keys: ClassVar[tuple[str, ...]] = ("stem",)
    weightless_operations: ClassVar[tuple[str, ...]] = (
        "none",
        "skip_connect",
        "max_pool_3x3",
        "avg_pool_3x3",
        "noise",
    )
    published: ClassVar[Mapping[str, PublishedGenotype]] = PUBLISHED
    channels: int = number(16, low=1)
    cells: int = number(8, low=1)
    stem: str = choice("small", "small", "imagenet")
    candidates: str = choice("all", *CANDIDATE_SETS)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> Supernet:
        return Supernet(
            channels=self.channels,
            cells=self.scaled_cells(depth),
            nodes=NODES,
            operations=CANDIDATE_SETS[self.candidates],
            stem=self.stem,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            **sizes,
        )

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **sizes: int
    ) -> Network:
        return Network(
            genotype,
            channels=self.channels,
            cells=self.cells,
            stem=self.stem,
            auxiliary=auxiliary,
            drop_path=drop_path,
            **sizes,
        )

    @classmethod
    def reference(cls, genotype: Genotype) -> Cnn:
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
        """By group, the candidates of each edge."""
        return candidates_of(CANDIDATE_SETS[self.candidates], NODES)

    def parameters(self) -> list[Parameter]:
        return parameters(self.rows)

    def encode(self, genotype: Genotype) -> Point:
        return encode(genotype, self.rows)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return decode(point, self.rows)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def pieces(self, *, classes: int, image: Sequence[int]) -> Iterator[NetworkPiece]:
        return pieces(
            self.rows,
            channels=self.channels,
            cells=self.cells,
            stem=self.stem,
            classes=classes,
            image=image,
        )

    def expected_usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Return the expected number of copies of each piece, see ``Space.expected_usage``.

        A node keeps two edges. The expected number of copies of an edge is proportional to its
        probability of any operation except ``none``, and a kept edge never has ``none``.
        """
        usage = {}
        for group, p in probabilities.items():
            possible = torch.tensor([[name != "none" for name in row] for row in candidates[group]])
            p = p * possible.to(p.device)
            strength = p.sum(-1)
            nodes = torch.split(strength, [node + 2 for node in range(NODES)])
            kept = torch.cat([2 * edges / edges.sum().clamp_min(1e-12) for edges in nodes])
            kept = kept.clamp_max(1.0)
            usage[group] = kept[:, None] * p / strength[:, None].clamp_min(1e-12)
        return usage
