"""The discrete networks of a recurrent genotype, for training from scratch.

References:
    DARTS, arXiv:1806.09055, section 3.1 and appendix A.2.2; Merity et al., "Regularizing and
    Optimizing LSTM Language Models", arXiv:1708.02182.
"""

from __future__ import annotations

from torch import Tensor, nn

from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.network import NetworkBase
from darts.spaces.recurrent.beam_search import translate
from darts.spaces.recurrent.cell import DiscreteCell
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.embedding import EmbeddingDecoder
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder
from darts.spaces.recurrent.genotype import Genotype


class Network(NetworkBase):
    """A language model: embedding, the cell of a genotype, and a decoder (output layer).

    Each node has only one incoming edge, so there is no ``drop_path``.

    Args:
        genotype: The cell's architecture.
        vocab_size, embedding, hidden, tied: See ``EmbeddingDecoder``. The default sizes are the
            published ones for Penn Treebank.
        dropouts: Dropout rates in training.

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``.
    """

    genotype: Genotype

    def __init__(
        self,
        genotype: Genotype,
        vocab_size: int,
        *,
        embedding: int = 850,
        hidden: int = 850,
        tied: bool = True,
        dropouts: DropoutRates | None = None,
    ) -> None:
        super().__init__(genotype)
        dropouts = dropouts or DropoutRates()
        self.words = EmbeddingDecoder(vocab_size, embedding, hidden, tied, dropouts)
        self.cell = DiscreteCell(genotype, embedding, hidden, dropouts)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        """Predict the token that follows each token; ``hidden=None`` means zeros."""
        raw, hidden = self.cell(
            self.words.embed(tokens, self.batch_share), hidden, self.batch_share
        )
        return self.words.decode(raw, hidden, self.batch_share)


class TranslationNetwork(EncoderDecoder, NetworkBase):
    """An encoder-decoder whose three cells have the architecture of a genotype.

    Each node has only one incoming edge, so there is no ``drop_path``.

    Args:
        genotype: The cells' architecture.
        sources, targets, embedding, hidden: Sizes, see ``EncoderDecoder``.
        dropouts: Dropout rates in training.
        **flags: ``tied``, ``joint`` and ``copy``, see ``EncoderDecoder``.
    """

    genotype: Genotype

    def __init__(
        self,
        genotype: Genotype,
        sources: int,
        targets: int,
        *,
        embedding: int,
        hidden: int,
        dropouts: DropoutRates | None = None,
        **flags: bool,
    ) -> None:
        dropouts = dropouts or DropoutRates()
        NetworkBase.__init__(self, genotype)
        EncoderDecoder.__init__(
            self,
            lambda width: DiscreteCell(genotype, width, hidden, dropouts),
            sources,
            targets,
            embedding=embedding,
            hidden=hidden,
            dropouts=dropouts,
            **flags,
        )

    def forward(
        self,
        sources: Tensor,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Compute logits for given targets, or decode the sources to words; see ``translate``."""

        def run_cell(cell: nn.Module, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
            outputs: tuple[Tensor, Tensor] = cell(x, state, self.batch_share)
            return outputs

        return translate(self, sources, inputs, run_cell, max_length=max_length, beam=beam)
