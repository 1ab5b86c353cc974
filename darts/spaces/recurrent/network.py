"""The discrete networks of a recurrent genotype, and the layers around the cell.

References:
    DARTS, arXiv:1806.09055, section 3.1 and appendix A.2.2; Merity et al., "Regularizing and
    Optimizing LSTM Language Models", arXiv:1708.02182, section 4.
    Weight tying: Press and Wolf, "Using the Output Embedding to Improve Language Models",
    arXiv:1608.05859, and Inan et al., arXiv:1611.01462.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.network import LanguageModelOutput, NetworkBase
from darts.spaces.recurrent.cell import INITIAL_RANGE, DiscreteCell, ModelSettings, locked_dropout
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder, TranslationSettings
from darts.spaces.recurrent.genotype import Genotype


class EmbeddingDecoder(nn.Module):
    """Token embedding and decoder, optionally with tied weights.

    This module applies the dropout rates ``word``, ``embedding`` and ``output``. V is the number of
    tokens, E the size of an embedding, H the size of the cell's output. Tied weights need E = H.
    """

    def __init__(self, vocab_size: int, settings: ModelSettings) -> None:
        super().__init__()
        embedding, hidden, tied = settings.embedding, settings.hidden, settings.tied
        if tied and embedding != hidden:
            raise ValueError(
                f"embedding={embedding} and hidden={hidden} must be equal when tied=true; make "
                "them equal, or set tied=false"
            )
        self.dropouts = settings.dropouts
        self.embedding = nn.Parameter(torch.empty(vocab_size, embedding))
        self.decoder = None if tied else nn.Parameter(torch.empty(vocab_size, hidden))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        for weight in (self.embedding, self.decoder):
            if weight is not None:
                nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed int64 tokens ``(T, B)`` as ``(T, B, E)``."""
        x = F.embedding(tokens, self.embedding)
        if self.training and self.dropouts.word > 0:
            kept = F.dropout(self.bias.new_ones(len(self.bias), 1), self.dropouts.word)
            x = x * F.embedding(tokens, kept)
        return locked_dropout(self, x, self.dropouts.embedding)

    def decode(self, raw: Tensor, hidden: Tensor) -> LanguageModelOutput:
        dropped = locked_dropout(self, raw, self.dropouts.output)
        weight = self.embedding if self.decoder is None else self.decoder
        return LanguageModelOutput(F.linear(dropped, weight, self.bias), hidden, raw, dropped)


class Network(NetworkBase):
    """A language model: embedding, the cell of a genotype, and a decoder (output layer).

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``.
    """

    def __init__(self, genotype: Genotype, vocab_size: int, settings: ModelSettings) -> None:
        super().__init__(genotype)
        self.words = EmbeddingDecoder(vocab_size, settings)
        self.cell = DiscreteCell(genotype, settings)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        return self.words.decode(*self.cell(self.words.embed(tokens), hidden))


class TranslationNetwork(EncoderDecoder, NetworkBase):
    """An encoder-decoder whose three cells have the architecture of a genotype."""

    def __init__(self, genotype: Genotype, settings: TranslationSettings) -> None:
        NetworkBase.__init__(self, genotype)
        EncoderDecoder.__init__(self, partial(DiscreteCell, genotype, settings), settings)

    def forward(
        self,
        sources: Tensor,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Compute logits or decode; see ``EncoderDecoder.translate``."""
        return self.translate(sources, inputs, [()] * 3, max_length, beam)
