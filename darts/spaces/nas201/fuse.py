"""Convolutions that all edges leaving a node share, and conversion of state dicts.

Edges that leave a node read the same tensor, so their convolutions are one convolution with more
output channels, and their norms one norm. The mixing weight of an edge is the scale of its norm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, normalize
from darts.ops.repetition import repeat_per_channel
from darts.spaces.nas201.genotype import EDGES, OUTGOING

_EDGE = re.compile(r"(layers\.\d+)\.edges\.(\d+)\.operations\.(\d+)\.(.+)")
_NODE = re.compile(r"(layers\.\d+)\.leaving\.(\d+)\.(\d+)\.(.+)")
_NAMES = {_EDGE: "an EdgewiseSupernet", _NODE: "a Supernet"}

OperationTensors: TypeAlias = dict[tuple[str, int, int], dict[str, Tensor]]
"""By layer, edge (or the node that edges leave), and column: the tensors by name."""


class ParallelConvNorm(nn.Module):
    """The convolutions and norms of several edges, without affine parameters.

    Args:
        copies: Results of ``darts.spaces.nas201.skeleton.relu_conv_norm``, one per edge; their
            weights and statistics are concatenated.

    Attributes:
        edges: Number of edges.
        process_group: Ranks that share a batch, see ``darts.ops.sync_batch_norm``, or None.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, copies: Sequence[nn.Module]) -> None:
        super().__init__()
        first = cast(nn.Sequential, copies[0])
        convolution, norm = cast(nn.Conv2d, first[1]), cast(nn.BatchNorm2d, first[2])
        self.eps = norm.eps
        self.momentum = cast(float, norm.momentum)
        self.padding = cast(tuple[int, int], convolution.padding)
        self.edges = len(copies)
        self.process_group: dist.ProcessGroup | None = None
        for name, value in _concatenated([copy.state_dict() for copy in copies]).items():
            if name == "weight":
                self.weight = nn.Parameter(value)
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor, scales: Tensor, selected: slice) -> Tensor:
        """Compute the weighted outputs of consecutive edges, ``(B, selected * C, H, W)``.

        Args:
            x: The rectified node, ``(B, C, H, W)``.
            scales: Mixing weights of the selected edges, ``(selected,)``.
            selected: The edges to compute.
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


def _concatenated(copies: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join the state dicts of the copies into that of a ``ParallelConvNorm``."""
    return {
        name.rpartition(".")[2]: torch.cat([copy[name] for copy in copies])
        if value.ndim
        else torch.stack([copy[name] for copy in copies])
        for name, value in copies[0].items()
    }


def _separated(state: dict[str, Tensor], edges: int) -> list[dict[str, Tensor]]:
    """Split the state dict of a ``ParallelConvNorm`` into those of its copies."""
    copies: list[dict[str, Tensor]] = [{} for _ in range(edges)]
    for name, value in state.items():
        module = "1" if name == "weight" else "2"
        shares = value.chunk(edges) if name != "num_batches_tracked" else value.unbind()
        for copy, share in zip(copies, shares, strict=True):
            copy[f"{module}.{name}"] = share.clone()
    return copies


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``; copies the tensors.

    Raises:
        ValueError: ``state`` is not a state dict of ``EdgewiseSupernet``.
    """
    fused, tensors = _split(state, _EDGE)
    for layer, edge, column in list(tensors):
        _require(edge < len(EDGES), _EDGE)
        source = EDGES[edge][0]
        if edge != OUTGOING[source][0]:
            continue
        copies = [tensors.pop((layer, other, column), {}) for other in OUTGOING[source]]
        _require(all(_shapes(copy) == _shapes(copies[0]) for copy in copies), _EDGE)
        for name, value in _concatenated(copies).items():
            fused[f"{layer}.leaving.{source}.{column}.{name}"] = value
    _require(not tensors and not _matches(state, _NODE), _EDGE)
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``; copies the tensors.

    Raises:
        ValueError: ``state`` is not a state dict of ``Supernet``.
    """
    unfused, tensors = _split(state, _NODE)
    for (layer, source, column), stacked in tensors.items():
        edges = OUTGOING[source] if source < len(OUTGOING) else []
        divisible = bool(edges) and all(len(v) % len(edges) == 0 for v in stacked.values())
        _require(divisible, _NODE)
        for edge, copy in zip(edges, _separated(stacked, len(edges)), strict=True):
            for name, value in copy.items():
                unfused[f"{layer}.edges.{edge}.operations.{column}.{name}"] = value
    _require(not _matches(state, _EDGE), _NODE)
    return unfused


def _split(
    state: Mapping[str, Tensor], pattern: re.Pattern[str]
) -> tuple[dict[str, Tensor], OperationTensors]:
    """Return copies of the tensors that do not match a pattern, and those that match."""
    others: dict[str, Tensor] = {}
    tensors: OperationTensors = {}
    for name, value in state.items():
        match = pattern.fullmatch(name)
        if match is None:
            others[name] = value.detach().clone()
        else:
            layer, index, column, inner = match.groups()
            tensors.setdefault((layer, int(index), int(column)), {})[inner] = value.detach()
    return others, tensors


def _matches(state: Mapping[str, Tensor], pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(name) for name in state)


def _shapes(copy: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in copy.items()}


def _require(valid: bool, pattern: re.Pattern[str]) -> None:
    if not valid:
        raise ValueError(f"this is not the state dict of {_NAMES[pattern]}")
