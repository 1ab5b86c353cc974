"""The supernet of NAS-Bench-201.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from darts.ops.recomputation import recompute
from darts.spaces.checks import check_positive
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.spaces.nas201.network import Head, ResidualBlock, make_stem, plan_layers
from darts.spaces.nas201.shared_cell import ParallelConvNorm, SharedCell
from darts.spaces.supernet import ParameterRows, SupernetBase


class Supernet(SupernetBase):
    """The supernet of the NAS-Bench-201 space.

    The batch norms of the cells have no affine parameters; the others do. The gradient of an
    inactive operation is zero instead of None if the operation is active on another edge that
    leaves the same node.

    Args:
        cells: Number of cells in each of the three stages (5 in the benchmark).
        operations: Candidates of each edge; alphas are ``{"cell": (6, operations)}``.
        auxiliary_skip: Whether each edge has an identity in addition to its candidates
            (DARTS-); its weight is the last column of the mixing weights.

    Shape: images ``(B, in_channels, H, W)`` -> logits ``(B, classes)``.
    """

    space = "nas201"
    cell_class: ClassVar[type[nn.Module]] = SharedCell
    supports_recomputation = True

    def __init__(
        self,
        *,
        channels: int = 16,
        cells: int = 5,
        classes: int = 10,
        in_channels: int = 3,
        operations: Sequence[str] = PRIMITIVES,
        partial: int = 1,
        auxiliary_skip: bool = False,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, cells=cells, classes=classes)
        check_positive(in_channels=in_channels, partial=partial)
        if channels % partial:
            raise ValueError(f"partial={partial} does not divide channels={channels}")
        self.operations = tuple(operations)
        self.candidates = {"cell": (self.operations,) * len(EDGES)}
        self.edges = {"cell": EDGES}
        self.counts = {"cell": 3 * cells}
        self.shapes = {"cell": (len(EDGES), len(self.operations) + auxiliary_skip)}
        self.stem = make_stem(in_channels, channels)
        plan = plan_layers(channels, cells)
        self.layers = nn.ModuleList(
            self.cell_class(outputs, self.operations, partial, auxiliary_skip)
            if inputs == outputs
            else ResidualBlock(inputs, outputs)
            for inputs, outputs in plan
        )
        self.head = Head(plan[-1][1], classes)
        self.alphas = self.make_alphas()
        # Convolutions are fastest in this layout.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        mixture = self.make_mixture(weights)
        x, index = self.stem(images.contiguous(memory_format=torch.channels_last)), 0
        for layer in self.layers:
            if isinstance(layer, ResidualBlock):
                x = layer(x)
            else:
                random = self.skip_dropout > 0
                run = partial(recompute, layer, random=random) if self.recomputes else layer
                x = run(x, mixture.of_cell("cell", index), self.skip_dropout)
                index += 1
        logits: Tensor = self.head(x)
        return logits

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        rows = {}
        for path, module in self._convolutions():
            per_edge = len(module.weight) // module.edges
            for edge in range(module.edges):
                own = ParameterRows(module.weight, edge * per_edge, (edge + 1) * per_edge)
                rows[f"{path}.{edge}"] = [own]
        return rows

    def stacks(self) -> dict[str, int]:
        return {f"{path}.": module.edges for path, module in self._convolutions()}

    def _convolutions(self) -> Iterator[tuple[str, ParallelConvNorm]]:
        for path, module in self.named_modules():
            if isinstance(module, ParallelConvNorm):
                yield path, module
