"""The supernet of NAS-Bench-201 written out edge by edge and operation by operation.

It is slow and obviously right: the definition of the space's continuous relaxation, and what the
fast supernet is tested against.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
    Partial channels: Xu et al., "PC-DARTS", arXiv:1907.05737, section 3.2.
    Auxiliary skip connection: Chu et al., "DARTS-", arXiv:2009.01027, section 3.2.
    Dropout on skip connections: Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.checks import check_positive
from darts.spaces.mixture import CellMixture, as_mixture
from darts.spaces.nas201.genotype import EDGES, NODES, PRIMITIVES
from darts.spaces.nas201.skeleton import (
    Head,
    ResidualBlock,
    check_operations,
    last_channels,
    make_operation,
    make_stem,
    plan_layers,
)
from darts.spaces.supernet import SupernetBase


def drop_elements(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Dropout by draws of a generator, the same in any layout; without one nothing is dropped."""
    if generator is None:
        return x
    keep = 1.0 - probability
    return x * (x.new_empty(x.shape).bernoulli_(keep, generator=generator) / keep)


class MixedEdge(nn.Module):
    """All candidate operations of one edge.

    Shape: ``(B, C, H, W)`` -> the same.
    """

    def __init__(self, channels: int, operations: Sequence[str], auxiliary_skip: bool) -> None:
        super().__init__()
        self.names = (*operations, *(["auxiliary"] if auxiliary_skip else []))
        self.operations = nn.ModuleList(
            make_operation(name, channels, affine=False) for name in operations
        )
        if auxiliary_skip:
            self.operations.append(nn.Identity())

    def forward(
        self,
        x: Tensor,
        weights: Tensor,
        active: Sequence[int],
        skip_dropout: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        """The weighted sum of those operations that are active."""
        terms = [torch.zeros_like(x)]
        factors = weights.unbind()
        for column in active:
            y = self.operations[column](x)
            if self.names[column] == "skip_connect":
                y = drop_elements(y, skip_dropout, generator)
            terms.append(factors[column] * y)
        return reduce(torch.add, terms)


class SupernetCell(nn.Module):
    """One cell, whose every node sums the mixed edges from all nodes before it.

    Args:
        channels: of the cell's input and output.
        operations: candidates of each edge.
        partial: the operations see the first ``channels / partial`` channels.
        auxiliary_skip: whether each edge has an auxiliary skip connection beside its candidates.

    Shape: ``(B, C, H, W)`` -> the same.
    """

    def __init__(
        self, channels: int, operations: Sequence[str], partial: int, auxiliary_skip: bool
    ) -> None:
        super().__init__()
        self.partial = partial
        self.edges = nn.ModuleList(
            MixedEdge(channels // partial, operations, auxiliary_skip) for _ in EDGES
        )

    def forward(
        self, x: Tensor, mixture: CellMixture, skip_dropout: float, seed: int | None
    ) -> Tensor:
        """The output of the cell's last node.

        Args:
            x: ``(B, C, H, W)``.
            mixture: weights ``(6, columns)`` and what goes with them.
            edges: ``{"cell": each edge's source and target}``.
        counts: ``{"cell": how many cells there are}``.
        shapes: of the mixing weights.
        skip_dropout: probability with which an element behind a skip connection is dropped.
            seed: of the draws for it; None drops nothing.
        """
        weights, bypass, active = mixture
        columns = tuple(range(weights.shape[1]))
        generator = generator_from(seed, x.device)
        nodes = [x]
        for target in range(1, NODES):
            seen, passed = [], []
            for number, (source, node) in enumerate(EDGES):
                if node == target:
                    first, rest = halves(nodes[source], self.partial)
                    chosen = columns if active is None else active[number]
                    seen.append(
                        self.edges[number](first, weights[number], chosen, skip_dropout, generator)
                    )
                    passed.append(rest if bypass is None else bypass[number] * rest)
            mixed = reduce(torch.add, seen)
            if self.partial > 1:
                parts = torch.cat([mixed, reduce(torch.add, passed)], dim=1)
                mixed = shuffle(parts, self.partial)
            nodes.append(mixed)
        return nodes[-1]


def generator_from(seed: int | None, device: torch.device) -> torch.Generator | None:
    """A generator with that seed, so that a cell which is computed again draws the same."""
    return None if seed is None else torch.Generator(device).manual_seed(seed)


def halves(x: Tensor, partial: int) -> tuple[Tensor, Tensor]:
    """The channels that the operations see, and those that are led past them."""
    seen = x.shape[1] // partial
    return x[:, :seen], x[:, seen:]


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Put the channels of ``groups`` groups in turn, so that others are seen at the next node.

    Shape: ``(B, C, H, W)`` -> the same.
    """
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class EdgewiseSupernet(SupernetBase):
    """The supernet of the NAS-Bench-201 space.

    The norms of its cells have no affine parameters, those of stem, residual blocks and head have.
    The alphas are parameters, so they are in the state dict, but ``weight_parameters`` leaves them
    out.

    Args:
        channels: width of the first stage; the second is twice as wide, the third four times.
        cells: number of cells in each of the three stages (5 in the benchmark).
        classes: number of classes.
        in_channels: channels of the images.
        operations: candidate operations of each edge.
        partial: K of PC-DARTS: operations see the first ``1 / K`` of the channels, the others are
            led past them, and the node shuffles them. 1 is all.
        auxiliary_skip: the last column of the mixing weights, one more than the alphas have, is
            that of a further identity on each edge, after DARTS-.

    Attributes:
        alphas: ``{"cell": (6, operations)}``.
        candidates: ``{"cell": the names of the alphas' columns, edge by edge}``.
        edges: ``{"cell": each edge's source and target}``.
        counts: ``{"cell": how many cells there are}``.
        shapes: of the mixing weights.
        skip_dropout: probability with which, in training, an element of what skip_connect puts out
            is dropped and the others are scaled up; not of the auxiliary skip connection.

    Shape: images ``(B, in_channels, H, W)`` -> logits ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, an unknown or repeated operation, or a number
            of channels that ``partial`` does not divide.
    """

    space = "nas201"
    make_cell: Callable[[int, Sequence[str], int, bool], nn.Module] = SupernetCell

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
        check_positive(
            channels=channels,
            cells=cells,
            classes=classes,
            in_channels=in_channels,
            partial=partial,
        )
        if channels % partial:
            raise ValueError(f"partial={partial} does not divide channels={channels}")
        self.operations = check_operations(operations)
        self.candidates = {"cell": (self.operations,) * len(EDGES)}
        self.edges = {"cell": EDGES}
        self.counts = {"cell": 3 * cells}
        self.shapes = {"cell": (len(EDGES), len(self.operations) + auxiliary_skip)}
        self.auxiliary_skip = auxiliary_skip
        self.stem = make_stem(in_channels, channels)
        self.layers = nn.ModuleList(
            self.make_cell(layer.outputs, self.operations, partial, auxiliary_skip)
            if layer.is_cell
            else ResidualBlock(*layer)
            for layer in plan_layers(channels, cells)
        )
        self.head = Head(last_channels(channels), classes)
        # Small random values break ties without preferring anything.
        shape = (len(EDGES), len(self.operations))
        self.alphas = nn.ParameterDict({"cell": nn.Parameter(1e-3 * torch.randn(shape))})

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            weights: mixing weights ``{"cell": (6, columns)}``, or a slice for each cell of the
                network, ``(cells, 6, columns)``; a ``Mixture`` may say more. When not given, the
                softmax of the supernet's own alphas, and zero for the auxiliary skip connections.
        """
        if weights is None:
            own = self.alphas["cell"].softmax(-1)
            weights = {"cell": F.pad(own, (0, 1)) if self.auxiliary_skip else own}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        dropping = self.training and self.skip_dropout > 0
        x, index = self.stem(images), 0
        for layer in self.layers:
            if isinstance(layer, ResidualBlock):
                x = layer(x)
            else:
                seed = int(torch.randint(2**62, ())) if dropping else None
                x = self.run_cell(layer, x, mixture.of_cell("cell", index), seed)
                index += 1
        return self.head(x)

    def run_cell(
        self, cell: nn.Module, x: Tensor, mixture: CellMixture, seed: int | None
    ) -> Tensor:
        """The output of one cell; a place for other ways of computing it."""
        output: Tensor = cell(x, mixture, self.skip_dropout, seed)
        return output
