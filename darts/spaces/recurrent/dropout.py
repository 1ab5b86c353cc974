"""Dropout in recurrent networks: one mask for all steps of a sequence.

References:
    Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks", arXiv:1512.05287: dropout of the same units at every step, and of whole words.
    Merity et al., "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182, section 4:
    where dropout is applied; section 2: dropout of the hidden-to-hidden weights.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch.nn.functional as F
from torch import Tensor

from darts.spaces.rank_dropout import BatchShare, dropout_mask


@dataclass(frozen=True)
class DropoutRates:
    """Dropout rates in training; the names of the published code are in parentheses.

    Attributes:
        word: Rate for words of the vocabulary, each at all its positions in the batch
            (``dropoute``).
        embedding: Rate for dimensions of the embeddings; one mask per sequence (``dropouti``).
        input: Rate for dimensions of the cell's input; one mask per sequence (``dropoutx``).
        hidden: Rate for dimensions of the states that the cell multiplies with its weights; one
            mask per sequence (``dropouth``).
        output: Rate for dimensions of the cell's output; one mask per sequence (``dropout``).
        weight: Rate for hidden-to-hidden weights; one mask for all sequences of a batch.

    Raises:
        ValueError: A rate outside [0, 1).
    """

    word: float = 0.0
    embedding: float = 0.0
    input: float = 0.0
    hidden: float = 0.0
    output: float = 0.0
    weight: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"space.{field.name}_dropout={value!r}: must be >= 0 and < 1")


def locked_mask(x: Tensor, probability: float, batch_share: BatchShare = None) -> Tensor:
    """Draw a mask ``(B, D)`` that all steps of ``x``, ``(T, B, D)`` or ``(B, D)``, share."""
    return dropout_mask(x, x.shape[-2:], probability, batch_share)


def locked_dropout(
    x: Tensor, probability: float, training: bool, batch_share: BatchShare = None
) -> Tensor:
    """Drop the same dimensions of ``x``, ``(T, B, D)``, at every step."""
    return x * locked_mask(x, probability, batch_share) if training and probability > 0 else x


def embed_with_word_dropout(
    tokens: Tensor, weight: Tensor, probability: float, training: bool
) -> Tensor:
    """Embed int64 tokens ``(T, B)`` with a table ``weight``, ``(V, E)``, as ``(T, B, E)``.

    In training, some words of the vocabulary are dropped at all their positions.
    """
    embeddings = F.embedding(tokens, weight)
    if not training or probability == 0:
        return embeddings
    mask = dropout_mask(weight, (weight.shape[0], 1), probability)
    return embeddings * F.embedding(tokens, mask)
