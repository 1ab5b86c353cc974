"""Dropout in recurrent networks: one mask for all steps of a sequence.

Masks are drawn from PyTorch's default generator of the device, so that a run goes on where it
stopped.

References:
    Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks", arXiv:1512.05287: the same units at each step, and whole words.
    Merity et al., "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182, section 4:
    where it is applied, and dropping weights between hidden states (section 2).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch.nn.functional as F
from torch import Tensor

Rows = tuple[int, int] | None
"""The place of the first of these sequences in a larger batch, and the size of that batch."""


@dataclass(frozen=True)
class DropoutRates:
    """With which probability what is dropped in training; the published names in brackets.

    Attributes:
        word: a word, everywhere in the batch (``dropoute``).
        embedding: a number of the embeddings of a sequence (``dropouti``).
        input: of what a cell takes in from outside, in a sequence (``dropoutx``).
        hidden: of each state that goes into a product of the cell, in a sequence (``dropouth``).
        output: of what a cell puts out, in a sequence (``dropout``).
        weight: a weight between the hidden state and the next, for all sequences of a batch.

    Raises:
        ValueError: for a probability outside [0, 1).
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
                raise ValueError(f"dropout {field.name} must be in [0, 1), got {value!r}")


def locked_mask(x: Tensor, probability: float, rows: Rows = None) -> Tensor:
    """Zeros with a probability, and elsewhere what keeps the mean.

    Args:
        x: ``(T, B, D)`` or ``(B, D)``, of which only device, type and shape count.
        probability: of zero, in [0, 1).
        rows: the draws are made for a larger batch, as by a process that holds all of it.

    Returns:
        ``(B, D)``.
    """
    keep = 1.0 - probability
    batch, width = x.shape[-2:]
    first, count = rows or (0, batch)
    mask = x.new_empty(count, width).bernoulli_(keep).div_(keep)
    return mask[first : first + batch]


def locked_dropout(x: Tensor, probability: float, training: bool, rows: Rows = None) -> Tensor:
    """Drop the same numbers at each step, ``(T, B, D)`` -> the same."""
    return x * locked_mask(x, probability, rows) if training and probability > 0 else x


def embedded(tokens: Tensor, weight: Tensor, probability: float, training: bool) -> Tensor:
    """Embeddings of tokens, some words of the vocabulary dropped wherever they occur.

    Args:
        tokens: ``(T, B)``, int64.
        weight: ``(V, E)``.
        probability: of a word.
        training: whether any are dropped.

    Returns:
        ``(T, B, E)``.
    """
    found = F.embedding(tokens, weight)
    if not training or probability == 0:
        return found
    keep = 1.0 - probability
    mask = weight.new_empty(weight.shape[0], 1).bernoulli_(keep).div_(keep)
    return found * F.embedding(tokens, mask)
