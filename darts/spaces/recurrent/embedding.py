"""What stands around a recurrent cell in a language model: embeddings before it, a decoder behind.

References:
    Sharing the weights of both: Press and Wolf, "Using the Output Embedding to Improve Language
    Models", arXiv:1608.05859, and Inan et al., arXiv:1611.01462.
    Merity et al., "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182, section 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.recurrent.cell import INITIAL_RANGE
from darts.spaces.recurrent.dropout import DropoutRates, Rows, embedded, locked_dropout


class EmbeddingDecoder(nn.Module):
    """Embeddings and decoder.

    Args:
        vocabulary: number of tokens, V.
        embedding: numbers in an embedding, E.
        hidden: numbers that a cell puts out, H.
        tied: whether both share their weights, for which E must be H.
        dropouts: of which ``word``, ``embedding`` and ``output`` apply here.

    Raises:
        ValueError: for a size that is not positive, or tied weights of two shapes.
    """

    def __init__(
        self, vocabulary: int, embedding: int, hidden: int, tied: bool, dropouts: DropoutRates
    ) -> None:
        super().__init__()
        check_positive(vocabulary=vocabulary, embedding=embedding, hidden=hidden)
        if tied and embedding != hidden:
            raise ValueError(
                f"tied weights need embedding={embedding} and hidden={hidden} to be equal; make "
                "them so, or set tied=false"
            )
        self.dropouts = dropouts
        self.embedding = nn.Parameter(torch.empty(vocabulary, embedding))
        self.decoder = None if tied else nn.Parameter(torch.empty(vocabulary, hidden))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        for weight in (self.embedding, self.decoder):
            if weight is not None:
                nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def embed(self, tokens: Tensor, rows: Rows = None) -> Tensor:
        """``(T, B)`` of int64 -> ``(T, B, E)``.

        Raises:
            ValueError: for tokens of another shape.
        """
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be (T, B), got {tuple(tokens.shape)}")
        found = embedded(tokens, self.embedding, self.dropouts.word, self.training)
        return locked_dropout(found, self.dropouts.embedding, self.training, rows)

    def decode(self, raw: Tensor, hidden: Tensor, rows: Rows = None) -> LanguageModelOutput:
        """From what a cell puts out, ``(T, B, H)``."""
        dropped = locked_dropout(raw, self.dropouts.output, self.training, rows)
        weight = self.embedding if self.decoder is None else self.decoder
        return LanguageModelOutput(F.linear(dropped, weight, self.bias), hidden, raw, dropped)
