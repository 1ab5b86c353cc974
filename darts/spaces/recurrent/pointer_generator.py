"""EmbeddingDecoder taken over from the source, where both sides have one vocabulary.

References:
    See, Liu and Manning, "Get To The Point: Summarization with PointerGenerator-Generator Networks",
    arXiv:1704.04368, section 2.2. Its vocabulary that grows by the unknown words of a source, and
    its coverage, are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PointerGenerator(nn.Module):
    """Mixes the words of a vocabulary with those that attention points at.

    Args:
        width: numbers that tell which of the two to trust, W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.choice = nn.Linear(width, 1)

    def forward(self, logits: Tensor, weights: Tensor, words: Tensor, seen: Tensor) -> Tensor:
        """Logarithms of probabilities, which stand for logits (equation 9).

        Args:
            logits: of the vocabulary, ``(T, B, V)``.
            weights: of attention, ``(T, B, S)``.
            words: of the source, ``(B, S)``.
            seen: what the choice goes by, ``(T, B, W)``.

        Returns:
            ``(T, B, V)``, float32 or wider.
        """
        own = torch.sigmoid(self.choice(seen))  # (T, B, 1)
        mixed = logits.softmax(2, dtype=torch.promote_types(logits.dtype, torch.float32)) * own
        pointed = ((1 - own) * weights).to(mixed.dtype)
        mixed = mixed.scatter_add(2, words.expand(len(logits), -1, -1), pointed)
        return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()
