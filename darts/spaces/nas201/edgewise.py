"""Reference supernet of NAS-Bench-201 that runs each operation of each edge separately.

It defines the continuous relaxation of the space. It is slow; the fast supernet is tested against
it.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
    Xu et al., "PC-DARTS", arXiv:1907.05737, section 3.2: partial channels.
    Chu et al., "DARTS-", arXiv:2009.01027, section 3.2: auxiliary skip connections.
    Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3: dropout of skip connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from darts.spaces.checks import check_positive
from darts.spaces.cnn.operations import shuffle_channels
from darts.spaces.mixture import CellMixture
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
    """Apply dropout with random numbers from a generator; without one, return ``x``."""
    if generator is None:
        return x
    keep = 1.0 - probability
    return x * (x.new_empty(x.shape).bernoulli_(keep, generator=generator) / keep)


class MixedEdge(nn.Module):
    """All candidates of one edge, ``(B, C, H, W)`` -> the same."""

    def __init__(self, channels: int, operations: Sequence[str], auxiliary_skip: bool) -> None:
        super().__init__()
        self.names = (*operations, "auxiliary") if auxiliary_skip else tuple(operations)
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
        terms = [torch.zeros_like(x)]
        factors = weights.unbind()
        for column in active:
            y = self.operations[column](x)
            if self.names[column] == "skip_connect":
                y = drop_elements(y, skip_dropout, generator)
            terms.append(factors[column] * y)
        return reduce(torch.add, terms)


class SupernetCell(nn.Module):
    """One cell in which each node is the sum of the mixed edges from all earlier nodes.

    Args:
        channels: Channels of the cell's input and output.
        operations: Candidates of each edge.
        partial: The first ``1 / partial`` of the channels pass through the operations.
        auxiliary_skip: Whether each edge has an auxiliary skip connection after its candidates.

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
        """Compute the cell's last node from ``x``, ``(B, C, H, W)``.

        Args:
            x: The cell's input.
            mixture: Mixture with weights ``(6, columns)``.
            skip_dropout: Probability of dropping an output element of a skip connection.
            seed: Seed of the dropout; None disables dropout.
        """
        weights, bypass, active = mixture
        columns = tuple(range(weights.shape[1]))
        generator = generator_from(seed, x.device)
        nodes = [x]
        for target in range(1, NODES):
            incoming, bypassing = [], []
            for edge, (source, node) in enumerate(EDGES):
                if node == target:
                    first, others = split_channels(nodes[source], self.partial)
                    selected = columns if active is None else active[edge]
                    incoming.append(
                        self.edges[edge](first, weights[edge], selected, skip_dropout, generator)
                    )
                    bypassing.append(others if bypass is None else bypass[edge] * others)
            mixed = reduce(torch.add, incoming)
            if self.partial > 1:
                mixed = torch.cat([mixed, reduce(torch.add, bypassing)], dim=1)
                mixed = shuffle_channels(mixed, self.partial)
            nodes.append(mixed)
        return nodes[-1]


def generator_from(seed: int | None, device: torch.device) -> torch.Generator | None:
    """Return a seeded generator, or None without a seed.

    A recomputed cell gets the same seed and therefore draws the same numbers.
    """
    return None if seed is None else torch.Generator(device).manual_seed(seed)


def split_channels(x: Tensor, partial: int) -> tuple[Tensor, Tensor]:
    """Return the channels that pass through the operations, and those that bypass them."""
    width = x.shape[1] // partial
    return x[:, :width], x[:, width:]


class EdgewiseSupernet(SupernetBase):
    """The supernet of the NAS-Bench-201 space.

    The batch norms of the cells have no affine parameters; those of stem, residual blocks and head
    do.

    Args:
        channels: Width of the first stage; it doubles with each stage.
        cells: Number of cells in each of the three stages (5 in the benchmark).
        classes: Number of classes.
        in_channels: Channels of the images.
        operations: Candidates of each edge.
        partial: The first ``1 / partial`` of the channels pass through the operations, the others
            bypass them, and each node shuffles its channels.
        auxiliary_skip: Whether each edge has an identity in addition to its candidates
            (DARTS-); its weight is the last column of the mixing weights.

    Attributes:
        alphas: ``{"cell": (6, operations)}``.
        skip_dropout: Probability of dropping an output element of ``skip_connect`` in training;
            auxiliary skip connections have no dropout.

    Shape: images ``(B, in_channels, H, W)`` -> logits ``(B, classes)``.

    Raises:
        ValueError: A size that is not positive, an unknown or repeated operation, or a number of
            channels that ``partial`` does not divide.
    """

    space = "nas201"
    make_cell: Callable[[int, Sequence[str], int, bool], nn.Module] = SupernetCell
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format

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
        self.stem = make_stem(in_channels, channels)
        self.layers = nn.ModuleList(
            self.make_cell(layer.outputs, self.operations, partial, auxiliary_skip)
            if layer.is_cell
            else ResidualBlock(layer.inputs, layer.outputs)
            for layer in plan_layers(channels, cells)
        )
        self.head = Head(last_channels(channels), classes)
        self.alphas = self.make_alphas()
        # Convolutions are a third slower if weights and images differ in their memory format.
        self.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        mixture = self.make_mixture(weights)
        dropping = self.training and self.skip_dropout > 0
        x, index = self.stem(images), 0
        for layer in self.layers:
            if isinstance(layer, ResidualBlock):
                x = layer(x)
            else:
                seed = int(torch.randint(2**62, ())) if dropping else None
                x = self.run_cell(layer, x, mixture.of_cell("cell", index), seed)
                index += 1
        logits: Tensor = self.head(x)
        return logits

    def run_cell(
        self, cell: nn.Module, x: Tensor, mixture: CellMixture, seed: int | None
    ) -> Tensor:
        """Return the output of one cell; subclasses may override it."""
        output: Tensor = cell(x, mixture, self.skip_dropout, seed)
        return output
