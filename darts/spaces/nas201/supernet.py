"""The supernet of NAS-Bench-201; edges that leave a node share its work.

They share the node's ReLU, its average pooling and one convolution per kernel size: a convolution
with more output channels, followed by one norm. The mixing weight of an edge is the scale of its
norm. The weighted outputs of identities and pools are not stored, ``none`` costs nothing, and only
active operations run.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
    Xu et al., "PC-DARTS", arXiv:1907.05737, section 3.2: partial channels.
    Chu et al., "DARTS-", arXiv:2009.01027, section 3.2: auxiliary skip connections.
    Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3: dropout of skip connections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, normalize
from darts.ops.grouped_conv import avg_pool3x3
from darts.ops.pixels import repeat_per_channel
from darts.ops.sums import weighted_sum
from darts.spaces.cnn.operations import shuffle_channels
from darts.spaces.mixture import CellMixture, consecutive_runs
from darts.spaces.nas201.genotype import EDGES, NODES, OUTGOING, PRIMITIVES
from darts.spaces.nas201.network import Head, ResidualBlock, make_operation, make_stem, plan_layers
from darts.spaces.rank_dropout import rank_dropout
from darts.spaces.supernet import ParameterRows, SupernetBase

_ORDER = [edge for edges in OUTGOING for edge in edges]  # all edges, ordered by source
_SIZES = [len(edges) for edges in OUTGOING]  # number of edges that leave each node


class ParallelConvNorm(nn.Module):
    """The convolutions and norms of several edges, without affine parameters.

    The weights and statistics of the copies, results of ``relu_conv_norm``, are concatenated.
    Ranks of ``process_group`` share a batch, see ``darts.ops.sync_batch_norm``.
    """

    def __init__(self, copies: Sequence[Any]) -> None:
        super().__init__()
        _, convolutions, norms = zip(*copies, strict=True)
        self.eps, self.momentum = norms[0].eps, norms[0].momentum
        self.padding = convolutions[0].padding
        self.edges = len(copies)
        self.process_group: dist.ProcessGroup | None = None
        self.weight = nn.Parameter(torch.cat([own.weight for own in convolutions]))
        self.running_mean = nn.Buffer(torch.cat([norm.running_mean for norm in norms]))
        self.running_var = nn.Buffer(torch.cat([norm.running_var for norm in norms]))
        counters = [norm.num_batches_tracked for norm in norms]
        self.num_batches_tracked = nn.Buffer(torch.stack(counters))

    def forward(self, x: Tensor, scales: Tensor, selected: slice) -> Tensor:
        """Compute the weighted outputs of consecutive edges, ``(B, selected * C, H, W)``.

        The rectified node is ``(B, C, H, W)``, and the mixing weights are ``(selected,)``.
        """
        channels = self.weight.shape[0] // self.edges
        rows = slice(selected.start * channels, selected.stop * channels)
        y = F.conv2d(x, self.weight[rows], padding=self.padding)
        mean, variance = self.running_mean[rows], self.running_var[rows]
        scale = repeat_per_channel(scales, channels)
        if not self.training:
            return F.batch_norm(y, mean, variance, scale, None, False, 0.0, self.eps)
        self.num_batches_tracked[selected] += 1
        running = RunningStats(mean, variance, self.momentum)
        return normalize(y, scale, self.eps, running, self.process_group)


class SharedCell(nn.Module):
    """One cell in which each node is the sum of the mixed edges from all earlier nodes.

    By node and column, ``leaving`` has the convolutions of the edges that leave the node; the name
    is part of the state dict.

    Shape: ``(B, C, H, W)`` -> the same.
    """

    def __init__(
        self, channels: int, operations: Sequence[str], partial: int, auxiliary_skip: bool
    ) -> None:
        super().__init__()
        self.partial = partial
        self.names = (*operations, "auxiliary") if auxiliary_skip else tuple(operations)
        edges = [
            [make_operation(name, channels // partial, affine=False) for name in operations]
            for _ in EDGES
        ]
        self.leaving = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(column): ParallelConvNorm([edges[edge][column] for edge in outgoing])
                    for column, name in enumerate(self.names)
                    if name.startswith("nor_conv")
                }
            )
            for outgoing in OUTGOING
        )

    def forward(self, x: Tensor, mixture: CellMixture, skip_dropout: float) -> Tensor:
        """Compute the cell's last node from ``x``, ``(B, C, H, W)``."""
        weights, bypass, active = mixture
        columns = tuple(range(weights.shape[1]))
        selected = (columns,) * len(EDGES) if active is None else active
        rows = weights.unbind()
        scales = torch.split(torch.stack([rows[edge] for edge in _ORDER]), _SIZES)
        scalars = [row.unbind() for row in rows]
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
                        value = rank_dropout(self, value, skip_dropout)
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
        width = x.shape[1] // self.partial
        return x[:, :width].contiguous(memory_format=torch.channels_last), x[:, width:]

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
            wanted = [i for i, edge in enumerate(edges) if column in selected[edge]]
            for own in consecutive_runs(wanted, len(edges)):
                rectified = F.relu(x) if rectified is None else rectified
                start, stop = own[0], own[-1] + 1
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


class Supernet(SupernetBase):
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
