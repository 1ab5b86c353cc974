"""The supernet of NAS-Bench-201; its edges run in the bundles of the ``cnn`` space.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
    Xu et al., "PC-DARTS", arXiv:1907.05737, section 3.2: partial channels.
    Chu et al., "DARTS-", arXiv:2009.01027, section 3.2: auxiliary skip connections.
    Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3: dropout of skip connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from darts.spaces.cnn.bundled_nodes import BundledNodes, BundledSupernet
from darts.spaces.mixture import CellMixture
from darts.spaces.nas201.genotype import EDGES, OUTGOING, PRIMITIVES
from darts.spaces.nas201.network import Head, ResidualBlock, make_operation, make_stem, plan_layers


class SharedCell(BundledNodes):
    """One cell, ``(B, C, H, W)`` -> the same; the output is its last node."""

    def __init__(
        self, channels: int, operations: Sequence[str], partial: int, auxiliary_skip: bool
    ) -> None:
        super().__init__()
        width, names = channels // partial, tuple(operations)
        edges: list[list[nn.Module]] = [
            [make_operation(name, width, affine=False) for name in operations] for _ in EDGES
        ]
        if auxiliary_skip:
            names = (*names, "auxiliary")
            edges = [[*own, nn.Identity()] for own in edges]
        rows = [names] * len(EDGES)
        self.set_edges(EDGES, OUTGOING, rows, edges, partial=partial, width=width)

    def forward(self, x: Tensor, mixture: CellMixture, skip_dropout: float) -> Tensor:
        output = self.run_nodes([x], mixture, skip_dropout)[-1].whole
        return output.contiguous(memory_format=torch.channels_last)


class Supernet(BundledSupernet):
    """The supernet of the NAS-Bench-201 space.

    The batch norms of the cells have no affine parameters; the others do. The gradient of an
    inactive operation is zero instead of None if the operation is active on another edge that
    leaves the same node.

    Args:
        cells: Number of cells in each of the three stages (5 in the benchmark).
        operations: Candidates of each edge; alphas are ``{"cell": (6, operations)}``.
        auxiliary_skip: Whether the last column of the mixing weights belongs to an identity.

    Shape: images ``(B, in_channels, H, W)`` -> logits ``(B, classes)``.
    """

    cell_class: ClassVar[type[nn.Module]] = SharedCell

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

    def forward(self, images: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        mixture = self.make_mixture(mixture)
        x, index = self.stem(images.contiguous(memory_format=torch.channels_last)), 0
        for layer in self.layers:
            if isinstance(layer, ResidualBlock):
                x = layer(x)
            else:
                x = self.run(layer, x, mixture.of_cell("cell", index), self.skip_dropout)
                index += 1
        logits: Tensor = self.head(x)
        return logits
