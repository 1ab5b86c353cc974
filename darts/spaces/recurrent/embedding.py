"""Token embedding and decoder (output layer) of a recurrent language model.

References:
    Weight tying: Press and Wolf, "Using the Output Embedding to Improve Language Models",
    arXiv:1608.05859, and Inan et al., arXiv:1611.01462.
    Merity et al., "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182, section 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.checks import check_positive
from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.rank_dropout import BatchShare
from darts.spaces.recurrent.cell import INITIAL_RANGE
from darts.spaces.recurrent.dropout import DropoutRates, embed_with_word_dropout, locked_dropout


class EmbeddingDecoder(nn.Module):
    """Token embedding and decoder, optionally with tied weights.

    Args:
        vocab_size: Number of tokens, V.
        embedding: Size of an embedding, E.
        hidden: Size of the cell's output, H.
        tied: Whether embedding and decoder share their weights; requires E = H.
        dropouts: Dropout rates; this module applies ``word``, ``embedding`` and ``output``.

    Raises:
        ValueError: A size that is not positive, or tied weights with different E and H.
    """

    def __init__(
        self, vocab_size: int, embedding: int, hidden: int, tied: bool, dropouts: DropoutRates
    ) -> None:
        super().__init__()
        check_positive(vocab_size=vocab_size, embedding=embedding, hidden=hidden)
        if tied and embedding != hidden:
            raise ValueError(
                f"embedding={embedding} and hidden={hidden} must be equal when tied=true; make "
                "them equal, or set tied=false"
            )
        self.dropouts = dropouts
        self.embedding = nn.Parameter(torch.empty(vocab_size, embedding))
        self.decoder = None if tied else nn.Parameter(torch.empty(vocab_size, hidden))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        for weight in (self.embedding, self.decoder):
            if weight is not None:
                nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def embed(self, tokens: Tensor, batch_share: BatchShare = None) -> Tensor:
        """Embed int64 tokens ``(T, B)`` as ``(T, B, E)`` (``ValueError`` for another shape)."""
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be (T, B), got {tuple(tokens.shape)}")
        x = embed_with_word_dropout(tokens, self.embedding, self.dropouts.word, self.training)
        return locked_dropout(x, self.dropouts.embedding, self.training, batch_share)

    def decode(
        self, raw: Tensor, hidden: Tensor, batch_share: BatchShare = None
    ) -> LanguageModelOutput:
        """Compute logits from the cell's outputs ``(T, B, H)``; ``hidden`` is returned as it is."""
        dropped = locked_dropout(raw, self.dropouts.output, self.training, batch_share)
        weight = self.embedding if self.decoder is None else self.decoder
        return LanguageModelOutput(F.linear(dropped, weight, self.bias), hidden, raw, dropped)
