"""The oracle of the transformer supernet: candidate by candidate.

It defines the continuous relaxation of the space, in terms of the operations of networks. Weights
and random draws are those of the fast supernet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.spaces.rank_dropout import rank_dropout
from darts.spaces.transformer.layers import (
    AttentionMask,
    attention_scores,
    attention_weights,
    convolve,
    join_heads,
    split_heads,
)
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
                (kernel,) = (kernel for kernel in self.kernels if kernel.shape[1] == int(number))
                y = convolve(self.mixer_norm(x), kernel, self.causal, mask)
                total = total + weight * y
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
        queries, keys, values = self.project(y).chunk(3, dim=2)
        scores = attention_scores(queries, keys, heads)
        weights = attention_weights(scores, self.width // heads, mask)
        output: Tensor = self.out(join_heads(weights @ split_heads(values, heads)))
        return output


class EdgewiseSupernet(Supernet):
    """The supernet with ``EdgewiseBlock``."""

    block_class = EdgewiseBlock
