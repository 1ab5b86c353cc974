"""The oracle of the transformer supernet: candidate by candidate and head by head.

It defines the continuous relaxation of the space. Weights and random draws are those of the fast
supernet.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.spaces.rank_dropout import rank_dropout
from darts.spaces.transformer.layers import AttentionMask
from darts.spaces.transformer.supernet import CandidateWeights, MixedBlock, Supernet


class EdgewiseBlock(MixedBlock):
    """All candidates of one block; see ``MixedBlock``."""

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        mixers: CandidateWeights,
        feed_forwards: CandidateWeights,
    ) -> Tensor:
        total = torch.zeros_like(x)
        for name, weight in mixers.items():
            operation, _, number = name.partition("_")
            if operation == "attention":
                total = total + weight * self.attention(self.mixer_norm(x), mask, int(number))
            elif operation == "conv":
                total = total + weight * self.convolution(self.mixer_norm(x), mask, int(number))
        if set(mixers) - {"identity"}:
            total = rank_dropout(self, total, self.dropout)
        x = x + total
        total = torch.zeros_like(x)
        for name, weight in feed_forwards.items():
            activation, _, ratio = name.partition("_")
            units = int(ratio) * self.width
            hidden = self.feed_norm(x) @ self.up.weight[:units].t() + self.up.bias[:units]
            hidden = F.relu(hidden) if activation == "relu" else F.gelu(hidden)
            total = total + weight * (hidden @ self.down.weight[:, :units].t())
        if feed_forwards:
            total = rank_dropout(self, total, self.dropout)
        return x + total

    def attention(self, y: Tensor, mask: AttentionMask, heads: int) -> Tensor:
        """Compute attention with ``heads`` heads, ``(B, T, D)`` -> ``(B, T, D)``."""
        size = self.width // heads
        matrices = self.project.weight.chunk(3)
        blocked = mask.blocked.expand(len(y), 1, y.shape[1], y.shape[1])[:, 0]
        outputs = []
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            query, key, value = (y @ matrix[rows].t() for matrix in matrices)  # each (B, T, size)
            scores = torch.einsum("bqd,bkd->bqk", query, key) / math.sqrt(size)
            weights = scores.masked_fill(blocked, -1e30).softmax(2)
            outputs.append(torch.einsum("bqk,bkd->bqd", weights, value))
        return torch.cat(outputs, dim=2) @ self.out.weight.t()

    def convolution(self, y: Tensor, mask: AttentionMask, taps: int) -> Tensor:
        """Compute the convolution with kernel size ``taps``, ``(B, T, D)`` -> ``(B, T, D)``."""
        (kernel,) = (kernel for kernel in self.kernels if kernel.shape[1] == taps)
        if mask.tokens is not None:
            y = y.masked_fill(~mask.tokens, 0.0)
        length = y.shape[1]
        first = 1 - taps if self.causal else -(taps // 2)  # offset of the earliest position
        total = torch.zeros_like(y)
        for tap in range(taps):
            offset = first + tap
            positions = [t for t in range(length) if 0 <= t + offset < length]
            if positions:
                shifted = torch.zeros_like(y)
                shifted[:, positions] = y[:, [t + offset for t in positions]]
                total = total + shifted * kernel[:, tap]
        return total


class EdgewiseSupernet(Supernet):
    """The supernet with ``EdgewiseBlock``."""

    block_class = EdgewiseBlock
