"""The discrete network of a recurrent genotype, as a language model, for training from scratch.

References:
    DARTS, arXiv:1806.09055, appendix A.2.2; Merity et al., "Regularizing and Optimizing LSTM
    Language Models", arXiv:1708.02182.
"""

from __future__ import annotations

from torch import Tensor, nn

from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.recurrent.cell import DiscreteCell
from darts.spaces.recurrent.dropout import DropoutRates, Rows
from darts.spaces.recurrent.genotype import Genotype
from darts.spaces.recurrent.embedding import EmbeddingDecoder


class Network(nn.Module):
    """Embeddings, the cell of a genotype, and a decoder.

    Args:
        genotype: the cell.
        vocabulary: number of tokens, V.
        embedding: numbers in an embedding, E (850 as published, for Penn Treebank).
        hidden: numbers in a state, H.
        tied: whether embeddings and decoder share their weights.
        dropouts: what is dropped in training.

    Attributes:
        rows: what dropout needs to know when sequences are a part of a larger batch, or None.
        auxiliary: None.
        drop_path: 0, as there is one path into each node.

    Shape: tokens ``(T, B)``, and a hidden state ``(B, H)`` -> ``LanguageModelOutput``.

    Raises:
        ValueError: for a size that is not positive, or tied weights of two shapes.
    """

    def __init__(
        self,
        genotype: Genotype,
        vocabulary: int,
        *,
        embedding: int = 850,
        hidden: int = 850,
        tied: bool = True,
        dropouts: DropoutRates | None = None,
    ) -> None:
        super().__init__()
        dropouts = dropouts or DropoutRates()
        self.genotype = genotype
        self.rows: Rows = None
        self.auxiliary: nn.Module | None = None
        self.drop_path = 0.0
        self.words = EmbeddingDecoder(vocabulary, embedding, hidden, tied, dropouts)
        self.cell = DiscreteCell(genotype, embedding, hidden, dropouts)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        """Say what follows.

        Args:
            tokens: ``(T, B)``, int64.
            hidden: ``(B, H)``, what came out before; None for zeros.
        """
        raw, hidden = self.cell(self.words.embed(tokens, self.rows), hidden, self.rows)
        return self.words.decode(raw, hidden, self.rows)
