"""The oracle of ``darts.spaces.nas201.Supernet``: it runs each operation of each edge separately.

Random draws and initial weights are equal; ``fuse_state_dict`` and ``unfuse_state_dict``
convert its state dict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.operations import shuffle_channels
from darts.spaces.cnn.stacking import concatenated, separated
from darts.spaces.mixture import CellMixture
from darts.spaces.nas201.genotype import EDGES, NODES, OUTGOING
from darts.spaces.nas201.network import make_operation
from darts.spaces.nas201.supernet import Supernet

_EDGE = re.compile(r"(layers\.\d+)\.edges\.(\d+)\.(.+)")
_BUNDLE = re.compile(r"(layers\.\d+)\.groups\.(\d+)\.(.+)")


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
                y = F.dropout(y, skip_dropout, self.training)
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
        incoming: list[list[Tensor]] = [[] for _ in range(NODES)]
        bypassing: list[list[Tensor]] = [[] for _ in range(NODES)]
        for source, leaving in enumerate(OUTGOING):
            first, others = x.tensor_split([self.width], dim=1)
            for edge in leaving:
                target = EDGES[edge][1]
                selected = columns if active is None else active[edge]
                y = self.edges[edge](first, weights[edge], selected, skip_dropout)
                incoming[target].append(y)
                bypassing[target].append(others if bypass is None else bypass[edge] * others)
            x = reduce(torch.add, incoming[source + 1])
            if self.partial > 1:
                x = torch.cat([x, reduce(torch.add, bypassing[source + 1])], dim=1)
                x = shuffle_channels(x, self.partial)
        return x


class EdgewiseSupernet(Supernet):
    """The supernet with ``EdgewiseCell``; the arguments are those of ``Supernet``."""

    cell_class = EdgewiseCell


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``; copies the tensors."""
    fused: dict[str, Tensor] = {}
    copies: dict[str, list[Tensor]] = {}
    for name, value in state.items():
        if match := _EDGE.fullmatch(name):
            layer, edge, inner = match.groups()
            bundle = EDGES[int(edge)][0]
            copies.setdefault(f"{layer}.groups.{bundle}.{inner}", []).append(value)
        else:
            fused[name] = value.clone()
    for name, values in copies.items():
        fused |= concatenated([{name: value} for value in values])
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``; copies the tensors."""
    unfused: dict[str, Tensor] = {}
    for name, value in state.items():
        if match := _BUNDLE.fullmatch(name):
            layer, bundle, inner = match.groups()
            members = OUTGOING[int(bundle)]
            shares = separated({inner: value}, len(members))
            for edge, share in zip(members, shares, strict=True):
                unfused[f"{layer}.edges.{edge}.{inner}"] = share[inner]
        else:
            unfused[name] = value.clone()
    return unfused
