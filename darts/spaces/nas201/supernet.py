"""Fast supernet of NAS-Bench-201: the function of ``EdgewiseSupernet`` with less work.

All edges that leave a node share its ReLU, its average pooling and one convolution per kernel size,
see ``darts.spaces.nas201.fuse``. The weighted outputs of identities and pools are not stored,
``none`` costs nothing, and only active operations run.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.pool import avg_pool3x3
from darts.ops.recomputation import recompute
from darts.ops.sums import weighted_sum
from darts.spaces.cnn.operations import shuffle_channels
from darts.spaces.mixture import CellMixture
from darts.spaces.nas201.edgewise import (
    EdgewiseSupernet,
    MixedEdge,
    SupernetCell,
    drop_elements,
    generator_from,
    split_channels,
)
from darts.spaces.nas201.fuse import ParallelConvNorm, fuse_state_dict, unfuse_state_dict
from darts.spaces.nas201.genotype import EDGES, NODES, OUTGOING
from darts.spaces.supernet import ParameterRows, widen

_ORDER = [edge for edges in OUTGOING for edge in edges]  # all edges, ordered by source
_SIZES = [len(edges) for edges in OUTGOING]  # number of edges that leave each node


class SharedCell(nn.Module):
    """One cell; the edges that leave a node share their convolutions.

    Arguments and shape are those of ``SupernetCell``.

    Attributes:
        leaving: By node and column, the convolutions of the edges that leave the node; the name is
            part of the state dict.
    """

    def __init__(
        self, channels: int, operations: Sequence[str], partial: int, auxiliary_skip: bool
    ) -> None:
        super().__init__()
        # Draws the same initial weights as the edge-wise cell.
        edgewise = SupernetCell(channels, operations, partial, auxiliary_skip)
        edges = [cast(MixedEdge, edge) for edge in edgewise.edges]
        self.partial = partial
        self.names = edges[0].names
        self.leaving = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(column): ParallelConvNorm([edges[n].operations[column] for n in outgoing])
                    for column, name in enumerate(self.names)
                    if name.startswith("nor_conv")
                }
            )
            for outgoing in OUTGOING
        )

    def forward(
        self, x: Tensor, mixture: CellMixture, skip_dropout: float, seed: int | None
    ) -> Tensor:
        weights, bypass, active = mixture
        columns = tuple(range(weights.shape[1]))
        selected = (columns,) * len(EDGES) if active is None else active
        rows = weights.unbind()
        scales = torch.split(torch.stack([rows[edge] for edge in _ORDER]), _SIZES)
        scalars = [row.unbind() for row in rows]
        generator = generator_from(seed, x.device)
        inputs: list[Tensor] = []  # of each node, the channels that pass through operations
        bypassing: list[Tensor] = []  # and the others
        pools: dict[int, Tensor] = {}
        incoming: list[list[Tensor]] = [[] for _ in range(NODES)]
        for source in range(NODES - 1):
            first, others = self._split(x)
            inputs.append(first)
            bypassing.append(others)
            for target, y in self._convolve(source, first, scales[source], selected):
                incoming[target].append(y)
            target = source + 1  # all convolutions into this node have run
            terms: list[Tensor] = []
            factors: list[Tensor] = []
            for edge, (edge_source, node) in enumerate(EDGES):
                for column in selected[edge] if node == target else ():
                    name = self.names[column]
                    if name == "none" or name.startswith("nor_conv"):
                        continue
                    value = inputs[edge_source]
                    if name == "avg_pool_3x3":
                        if edge_source not in pools:
                            pools[edge_source] = avg_pool3x3(value)
                        value = pools[edge_source]
                    elif name == "skip_connect":
                        value = drop_elements(value, skip_dropout, generator)
                    terms.append(value)
                    factors.append(scalars[edge][column])
            if terms:
                incoming[target].append(weighted_sum(terms, factors))
            mixed = reduce(torch.add, incoming[target] or [torch.zeros_like(first)])
            x = self._join(mixed, bypassing, target, bypass)
        return x

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the channels for the operations, contiguous, and the others."""
        if self.partial == 1:
            return x, x
        first, others = split_channels(x, self.partial)
        return first.contiguous(memory_format=torch.channels_last), others

    def _join(
        self, mixed: Tensor, bypassing: Sequence[Tensor], target: int, bypass: Tensor | None
    ) -> Tensor:
        """Concatenate the sum of a node's mixed edges with the channels that bypass them."""
        if self.partial == 1:
            return mixed
        if bypass is None:
            total = reduce(torch.add, bypassing)
        else:
            # Not bypass[edges], which copies the indices to the GPU.
            weights = zip(EDGES, bypass.unbind(), strict=True)
            total = weighted_sum(bypassing, [w for (_, node), w in weights if node == target])
        x = shuffle_channels(torch.cat([mixed, total], dim=1), self.partial)
        return x.contiguous(memory_format=torch.channels_last)

    def _convolve(
        self, source: int, x: Tensor, scales: Tensor, selected: Sequence[Sequence[int]]
    ) -> list[tuple[int, Tensor]]:
        """Return ``(target, weighted output)`` of the convolutions on the edges that leave a node.

        Targets may repeat.
        """
        edges = OUTGOING[source]
        rectified: Tensor | None = None
        sums: dict[tuple[int, int], Tensor] = {}
        for key, convolution in cast(nn.ModuleDict, self.leaving[source]).items():
            column = int(key)
            for start, stop in _runs([column in selected[edge] for edge in edges]):
                rectified = F.relu(x) if rectified is None else rectified
                run = slice(start, stop)
                y = convolution(rectified, scales[run, column], run)
                # No backward pass needs the output of a norm, so the sum may overwrite it. Summing
                # before the split gives all norms one shared gradient.
                sums[start, stop] = sums[start, stop].add_(y) if (start, stop) in sums else y
        return [
            (EDGES[edges[start + offset]][1], y)
            for (start, stop), total in sums.items()
            for offset, y in enumerate(total.chunk(stop - start, dim=1))
        ]


def _runs(wanted: Sequence[bool]) -> list[tuple[int, int]]:
    """Return start and stop of each run of True."""
    padded = [False, *wanted, False]
    bounds = [i for i in range(len(padded) - 1) if padded[i] != padded[i + 1]]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


class Supernet(EdgewiseSupernet):
    """The supernet of the NAS-Bench-201 space.

    It has the arguments, alphas, initial weights and, up to rounding, the results of
    ``EdgewiseSupernet``. ``fuse_state_dict`` and ``unfuse_state_dict`` convert state dicts. The
    gradient of an inactive operation is zero instead of None if the operation is active on another
    edge that leaves the same node.
    """

    make_cell = SharedCell
    memory_format = torch.channels_last
    supports_recomputation = True

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        rows = {}
        for path, module in self.named_modules():
            if isinstance(module, ParallelConvNorm):
                per_edge = len(module.weight) // module.edges
                for edge in range(module.edges):
                    own = ParameterRows(module.weight, edge * per_edge, (edge + 1) * per_edge)
                    rows[f"{path}.{edge}"] = [own]
        return rows

    def widened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = unfuse_state_dict(self.state_dict())
        return fuse_state_dict(widen(unfuse_state_dict(state), own))

    def run_cell(
        self, cell: nn.Module, x: Tensor, mixture: CellMixture, seed: int | None
    ) -> Tensor:
        run = partial(recompute, cell) if self.recomputes else cell
        output: Tensor = run(x, mixture, self.skip_dropout, seed)
        return output

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        return super().forward(images.contiguous(memory_format=torch.channels_last), weights)
