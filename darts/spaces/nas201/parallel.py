"""One ReLU-Conv-BN of each edge that leaves a node, computed together.

Edges that leave one node read the same tensor, so that their convolutions are one with as many
more outputs, and their norms are one norm. The mixing weight of an edge is that norm's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, normalize
from darts.ops.separable import repeat_per_channel


class ParallelConvNorm(nn.Module):
    """The copies that E edges have of a ReLU-Conv-BN without affine parameters.

    Their weights and statistics lie side by side, the first edge's first.

    Args:
        copies: of ``darts.spaces.nas201.skeleton.relu_conv_norm``; their weights are taken over.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, copies: Sequence[nn.Module]) -> None:
        super().__init__()
        _, convolution, norm = cast(Any, copies[0])
        self.eps: float = norm.eps
        self.momentum: float = norm.momentum
        self.padding: tuple[int, int] = convolution.padding
        self.edges = len(copies)
        self.process_group: Any = None  # ranks that share a batch, see darts.ops.sync_batch_norm
        for name, value in side_by_side([copy.state_dict() for copy in copies]).items():
            if name == "weight":
                self.weight = nn.Parameter(value)
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor, scales: Tensor, chosen: slice) -> Tensor:
        """Weighted outputs, side by side.

        Args:
            x: the node behind its ReLU, ``(B, C, H, W)``.
            scales: mixing weights of the chosen edges, ``(chosen,)``.
            chosen: the edges to compute, a run of them.

        Returns:
            ``(B, chosen * C, H, W)``.
        """
        channels = self.weight.shape[0] // self.edges
        rows = slice(chosen.start * channels, chosen.stop * channels)
        y = F.conv2d(x, self.weight[rows], padding=self.padding)
        mean, variance = self.running_mean[rows], self.running_var[rows]
        scale = repeat_per_channel(scales, y)
        if not self.training:
            return F.batch_norm(y, mean, variance, scale, None, False, 0.0, self.eps)
        self.num_batches_tracked[chosen] += 1
        running = RunningStats(mean, variance, self.momentum)
        return normalize(y, scale, self.eps, running, self.process_group)


def side_by_side(copies: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """State dict of a ``ParallelConvNorm`` from those of its copies; they share no memory."""
    return {
        name.rpartition(".")[2]: torch.cat([torch.atleast_1d(copy[name]) for copy in copies])
        for name in copies[0]
    }


def taken_apart(state: dict[str, Tensor], edges: int) -> list[dict[str, Tensor]]:
    """State dicts of the copies from that of a ``ParallelConvNorm``; they share no memory."""
    copies: list[dict[str, Tensor]] = [{} for _ in range(edges)]
    for name, value in state.items():
        place = "1" if name == "weight" else "2"
        parts = value.chunk(edges) if name != "num_batches_tracked" else value.unbind()
        for copy, part in zip(copies, parts, strict=True):
            copy[f"{place}.{name}"] = part.clone()
    return copies
