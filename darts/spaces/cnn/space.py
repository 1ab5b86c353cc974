"""The cell-based space.

References:
    DARTS, arXiv:1806.09055, section 3.1. Published cells (``published.json``): errors and sizes are
    the papers' claims for the CIFAR-10 network (36 channels, 20 cells, cutout, unless a note says
    otherwise), not measurements of this code. Results of NASNet-A, AmoebaNet-A and DARTS: DARTS,
    table 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.ops.transfer import constant_on
from darts.registry import choice, number
from darts.spaces.any_genotype import AnyGenotype, PublishedGenotype, read_published
from darts.spaces.cnn.candidates import candidate_operations, candidates_of
from darts.spaces.cnn.edgewise import EdgewiseSupernet
from darts.spaces.cnn.encoding import CellSpace
from darts.spaces.cnn.network import Network
from darts.spaces.cnn.operations import make_operation
from darts.spaces.cnn.skeleton import make_preprocessing, make_stem, plan_cells
from darts.spaces.cnn.supernet import Supernet
from darts.spaces.deriving import ByGroup, Candidates
from darts.spaces.genotype import CELLS, Genotype, all_edges
from darts.spaces.network import NetworkPiece
from darts.spaces.space import SPACES

NODES = 4

PUBLISHED = read_published(__file__, "test error %", Genotype.parse)


@SPACES.register
@dataclass
class Cnn(CellSpace):
    """A stack of ``cells`` normal and reduction cells with four nodes each.

    Attributes:
        channels: Width of the first cell's nodes.
        stem: "small" keeps the image size; "imagenet" divides it by 8.
        candidates: Name of a candidate set: "all" for the eight operations of DARTS, or "s1" to
            "s4". Or a list of the operations that are the candidates of every edge.
    """

    notation: ClassVar[str | None] = r"Genotype\("
    name: str = "cnn"
    supports_drop_path: ClassVar[bool] = True
    retrain_keys: ClassVar[tuple[str, ...]] = ("stem",)
    size_keys: ClassVar[tuple[str, ...]] = ("channels", "cells")
    weightless_operations: ClassVar[tuple[str, ...]] = (
        *CellSpace.skip_operations, "max_pool_3x3", "avg_pool_3x3", "noise",
    )  # fmt: skip
    published: ClassVar[Mapping[str, PublishedGenotype[AnyGenotype]]] = PUBLISHED
    channels: int = number(16, low=1)
    cells: int = number(8, low=1, high=1000)
    stem: str = choice("small", "small", "imagenet")
    candidates: Any = "all"  # str or list[str]; OmegaConf has no unions with lists

    def __post_init__(self) -> None:
        candidate_operations(self.candidates)

    def supernet(
        self, kind: type[EdgewiseSupernet] = Supernet, /, *, depth: float = 1.0, **options: Any
    ) -> EdgewiseSupernet:
        return kind(
            channels=self.channels,
            cells=self.scaled_cells(depth),
            nodes=NODES,
            operations=candidate_operations(self.candidates),
            stem=self.stem,
            **options,
        )

    def droppable_supernet(self, **options: Any) -> EdgewiseSupernet:
        # The fast supernet never holds the output of a single edge.
        return self.supernet(EdgewiseSupernet, **options)

    def network(self, genotype: Genotype, **options: Any) -> Network:
        sizes = {"channels": self.channels, "cells": self.cells, "stem": self.stem}
        return Network(genotype, **{"auxiliary": False, **sizes, **options})

    @classmethod
    def reference(cls, genotype: Genotype) -> Cnn:
        return cls(channels=36, cells=20)

    @property
    def edge_candidates(self) -> Candidates:
        return candidates_of(candidate_operations(self.candidates), NODES)

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        in_channels, *size = sample_shape
        new_stem = partial(make_stem, self.stem, in_channels, self.channels)
        yield NetworkPiece(new_stem, tuple(sample_shape))
        stem = new_stem()
        sizes = [tuple(size)] * 2  # of the two inputs of a cell, (H, W)
        if stem.reduces:
            quarter = _halved(_halved(tuple(size)))
            sizes = [quarter, _halved(quarter)]
        plans = plan_cells(self.channels, self.cells, stem, dict.fromkeys(CELLS, NODES))
        for plan in plans:
            for index, inputs in enumerate((plan.before_previous, plan.previous)):
                make = partial(make_preprocessing, plan, index, affine=True)
                yield NetworkPiece(make, (inputs, *sizes[index]))
            outer = sizes[1]  # the size of both inputs after preprocessing
            inner = _halved(outer) if plan.group == "reduce" else outer  # the size of the nodes
            for edge, (source, _) in enumerate(all_edges(NODES)):
                stride = plan.stride(source)
                shape = (plan.channels, *(outer if source < 2 else inner))
                for column, name in enumerate(self.edge_candidates[plan.group][edge]):
                    make_candidate = partial(make_operation, name, plan.channels, stride)
                    yield NetworkPiece(make_candidate, shape, (plan.group, edge, column))
            sizes = [outer, inner]
        width = NODES * plans[-1].channels
        yield NetworkPiece(partial(nn.Linear, width, classes), (width,))

    def expected_usage(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        # A node keeps two edges. The probability that it keeps an edge is taken as proportional to
        # the edge's probability of operations other than "none", which a kept edge never has.
        usage = {}
        for group, p in probabilities.items():
            p = p * constant_on(_possible(candidates[group]), p.device)
            strength = p.sum(-1)
            per_node = torch.split(strength, [node + 2 for node in range(NODES)])
            kept = torch.cat([2 * s / s.sum().clamp_min(1e-12) for s in per_node]).clamp_max(1.0)
            usage[group] = kept[:, None] * p / strength[:, None].clamp_min(1e-12)
        return usage


@lru_cache(maxsize=64)
def _possible(rows: tuple[tuple[str, ...], ...]) -> Tensor:
    """Return which candidates a kept edge may have, ``(edges, operations)`` bool."""
    with torch.inference_mode(False):  # so that later calls may use the tensor in training
        return torch.tensor([[name != "none" for name in row] for row in rows])


def _halved(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-side // 2) for side in size)
