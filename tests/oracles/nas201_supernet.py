"""The oracle of ``darts.spaces.nas201.Supernet``: it runs each operation of each edge separately.

Random draws and initial weights are equal; ``fuse_state_dict`` and ``unfuse_state_dict``
convert its state dict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from darts.spaces.cnn.operations import shuffle_channels
from darts.spaces.mixture import CellMixture
from darts.spaces.nas201.genotype import EDGES, NODES, OUTGOING
from darts.spaces.nas201.network import make_operation
from darts.spaces.nas201.supernet import Supernet
from darts.spaces.rank_dropout import rank_dropout

_EDGE = re.compile(r"(layers\.\d+)\.edges\.(\d+)\.operations\.(\d+)\.[12]\.(.+)")
_NODE = re.compile(r"(layers\.\d+)\.leaving\.(\d+)\.(\d+)\.(.+)")


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
        self, x: Tensor, weights: Tensor, active: Sequence[int], skip_dropout: float
    ) -> Tensor:
        terms = [torch.zeros_like(x)]
        factors = weights.unbind()
        for column in active:
            y = self.operations[column](x)
            if self.names[column] == "skip_connect":
                y = rank_dropout(self, y, skip_dropout)
            terms.append(factors[column] * y)
        return reduce(torch.add, terms)


class EdgewiseCell(nn.Module):
    """All candidates of all edges; see ``SharedCell``."""

    def __init__(
        self, channels: int, operations: Sequence[str], partial: int, auxiliary_skip: bool
    ) -> None:
        super().__init__()
        self.partial, self.width = partial, channels // partial
        self.edges = nn.ModuleList(MixedEdge(self.width, operations, auxiliary_skip) for _ in EDGES)

    def forward(self, x: Tensor, mixture: CellMixture, skip_dropout: float) -> Tensor:
        weights, bypass, active = mixture
        columns = tuple(range(weights.shape[1]))
        nodes = [x]
        for target in range(1, NODES):
            incoming, bypassing = [], []
            for edge, (source, node) in enumerate(EDGES):
                if node == target:
                    first, others = nodes[source].tensor_split([self.width], dim=1)
                    selected = columns if active is None else active[edge]
                    incoming.append(self.edges[edge](first, weights[edge], selected, skip_dropout))
                    bypassing.append(others if bypass is None else bypass[edge] * others)
            mixed = reduce(torch.add, incoming)
            if self.partial > 1:
                mixed = torch.cat([mixed, reduce(torch.add, bypassing)], dim=1)
                mixed = shuffle_channels(mixed, self.partial)
            nodes.append(mixed)
        return nodes[-1]


class EdgewiseSupernet(Supernet):
    """The supernet with ``EdgewiseCell``; the arguments are those of ``Supernet``."""

    cell_class = EdgewiseCell


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``; copies the tensors."""
    fused: dict[str, Tensor] = {}
    shares: dict[str, list[Tensor]] = {}
    for name, value in state.items():
        if match := _EDGE.fullmatch(name):
            layer, edge, column, inner = match.groups()
            source = EDGES[int(edge)][0]
            shares.setdefault(f"{layer}.leaving.{source}.{column}.{inner}", []).append(value)
        else:
            fused[name] = value.clone()
    for name, values in shares.items():
        fused[name] = torch.cat(values) if values[0].ndim else torch.stack(values)
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``; copies the tensors."""
    unfused: dict[str, Tensor] = {}
    for name, value in state.items():
        if match := _NODE.fullmatch(name):
            layer, source, column, inner = match.groups()
            edges = OUTGOING[int(source)]
            is_counter = inner == "num_batches_tracked"
            shares = value.unbind() if is_counter else value.chunk(len(edges))
            path = f"operations.{column}.{1 if inner == 'weight' else 2}.{inner}"
            for edge, share in zip(edges, shares, strict=True):
                unfused[f"{layer}.edges.{edge}.{path}"] = share.clone()
        else:
            unfused[name] = value.clone()
    return unfused
