"""Pointer-generator: an output distribution that can copy words of the source.

References:
    See, Liu and Manning, "Get To The Point: Summarization with Pointer-Generator Networks",
    arXiv:1704.04368, section 2.2. The extended vocabulary of out-of-vocabulary source words and
    the coverage mechanism are not implemented.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PointerGenerator(nn.Module):
    """Mixes the vocabulary distribution with the attention distribution over source words.

    Args:
        width: Number of features, W, from which the module predicts the probability that a word is
            generated instead of copied.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.choice = nn.Linear(width, 1)

    def forward(self, logits: Tensor, weights: Tensor, words: Tensor, features: Tensor) -> Tensor:
        """Compute log-probabilities, which are valid logits (equation 9).

        Args:
            logits: Logits of the vocabulary, ``(T, B, V)``.
            weights: Attention weights, ``(T, B, S)``.
            words: Token ids of the source, ``(B, S)``.
            features: ``(T, B, W)``.

        Returns:
            ``(T, B, V)``, float32 or wider.
        """
        generate = torch.sigmoid(self.choice(features))  # (T, B, 1)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        mixed = logits.softmax(2, dtype=dtype) * generate
        copied = ((1 - generate) * weights).to(mixed.dtype)
        mixed = mixed.scatter_add(2, words.expand(len(logits), -1, -1), copied)
        return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()
