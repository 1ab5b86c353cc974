"""The supernets of the transformer space written out, one candidate and one head after the other.

They are slow and obviously right: the definition of the space's continuous relaxation, and what the
fast ones are tested against. Weights and random draws are those of the fast ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.spaces.transformer.layers import AttentionMask, dropped
from darts.spaces.transformer.supernet import Chosen, ClassifierSupernet, MixedBlock, Supernet


class EdgewiseBlock(MixedBlock):
    """All candidates of one block; see ``MixedBlock``."""

    def forward(self, x: Tensor, sight: AttentionMask, mixers: Chosen, layers: Chosen) -> Tensor:
        """The block's output, as ``MixedBlock.forward``."""
        total = torch.zeros_like(x)
        for name, weight in mixers.items():
            kind, _, number = name.partition("_")
            if kind == "attention":
                total = total + weight * self.one_attention(self.mixer_norm(x), sight, int(number))
            elif kind == "conv":
                total = total + weight * self.one_convolution(
                    self.mixer_norm(x), sight, int(number)
                )
        if set(mixers) - {"identity"}:
            total = dropped(total, self.dropout, self.training)
        x = x + total
        total = torch.zeros_like(x)
        for name, weight in layers.items():
            activation, _, ratio = name.partition("_")
            units = int(ratio) * self.width
            inside = self.feed_norm(x) @ self.up.weight[:units].t() + self.up.bias[:units]
            inside = F.relu(inside) if activation == "relu" else F.gelu(inside)
            total = total + weight * (inside @ self.down.weight[:, :units].t())
        if layers:
            total = dropped(total, self.dropout, self.training)
        return x + total

    def one_attention(self, y: Tensor, sight: AttentionMask, heads: int) -> Tensor:
        """Attention with so many heads, ``(B, T, D)``."""
        size = self.width // heads
        matrices = self.project.weight.chunk(3)
        unseen = sight.unseen.expand(len(y), 1, y.shape[1], y.shape[1])[:, 0]
        outputs = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            query, key, value = (y @ matrix[own].t() for matrix in matrices)  # each (B, T, size)
            scores = torch.einsum("bqd,bkd->bqk", query, key) / math.sqrt(size)
            weights = scores.masked_fill(unseen, -1e30).softmax(2)
            outputs.append(torch.einsum("bqk,bkd->bqd", weights, value))
        return torch.cat(outputs, dim=2) @ self.out.weight.t()

    def one_convolution(self, y: Tensor, sight: AttentionMask, taps: int) -> Tensor:
        """A convolution over so many words, ``(B, T, D)``."""
        (kernel,) = (kernel for kernel in self.kernels if kernel.shape[1] == taps)
        if sight.words is not None:
            y = y.masked_fill(~sight.words, 0.0)
        length = y.shape[1]
        first = 1 - taps if self.causal else -(taps // 2)  # the earliest word, from each
        total = torch.zeros_like(y)
        for tap in range(taps):
            offset = first + tap
            places = [t for t in range(length) if 0 <= t + offset < length]
            if places:
                shifted = torch.zeros_like(y)
                shifted[:, places] = y[:, [t + offset for t in places]]
                total = total + shifted * kernel[:, tap]
        return total


class EdgewiseSupernet(Supernet):
    """The language model with these blocks; arguments as those of ``Supernet``."""

    block_class = EdgewiseBlock


class EdgewiseClassifier(ClassifierSupernet):
    """The classifier with these blocks; arguments as those of ``ClassifierSupernet``."""

    block_class = EdgewiseBlock
