"""One convolution and batch norm for all edges that leave a node.

Edges that leave a node read the same tensor, so their convolutions are one convolution with more
output channels, and their norms one norm. The mixing weight of an edge is the scale of its norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, normalize
from darts.ops.separable import repeat_per_channel


class ParallelConvNorm(nn.Module):
    """The convolutions and norms of several edges, without affine parameters.

    Weights and statistics of the edges are concatenated.

    Args:
        copies: modules made by ``darts.spaces.nas201.skeleton.relu_conv_norm``, one per edge; this
            module takes over their weights.

    Attributes:
        edges: number of edges.
        process_group: ranks that share a batch, see ``darts.ops.sync_batch_norm``, or None.
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
        for name, value in concatenated([copy.state_dict() for copy in copies]).items():
            if name == "weight":
                self.weight = nn.Parameter(value)
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor, scales: Tensor, selected: slice) -> Tensor:
        """Compute the weighted outputs of consecutive edges.

        Args:
            x: the rectified node, ``(B, C, H, W)``.
            scales: mixing weights of the selected edges, ``(selected,)``.
            selected: the edges to compute.

        Returns:
            ``(B, selected * C, H, W)``.
        """
        channels = self.weight.shape[0] // self.edges
        rows = slice(selected.start * channels, selected.stop * channels)
        y = F.conv2d(x, self.weight[rows], padding=self.padding)
        mean, variance = self.running_mean[rows], self.running_var[rows]
        scale = repeat_per_channel(scales, y)
        if not self.training:
            return F.batch_norm(y, mean, variance, scale, None, False, 0.0, self.eps)
        self.num_batches_tracked[selected] += 1
        running = RunningStats(mean, variance, self.momentum)
        return normalize(y, scale, self.eps, running, self.process_group)


def concatenated(copies: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the state dict of a ``ParallelConvNorm`` for those of its copies.

    The tensors share no memory.
    """
    return {
        name.rpartition(".")[2]: torch.cat([copy[name] for copy in copies])
        if value.ndim
        else torch.stack([copy[name] for copy in copies])
        for name, value in copies[0].items()
    }


def separated(state: dict[str, Tensor], edges: int) -> list[dict[str, Tensor]]:
    """Return the state dicts of the copies for that of a ``ParallelConvNorm``.

    The tensors share no memory.
    """
    copies: list[dict[str, Tensor]] = [{} for _ in range(edges)]
    for name, value in state.items():
        module = "1" if name == "weight" else "2"
        shares = value.chunk(edges) if name != "num_batches_tracked" else value.unbind()
        for copy, share in zip(copies, shares, strict=True):
            copy[f"{module}.{name}"] = share.clone()
    return copies
