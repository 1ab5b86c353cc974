"""The discrete networks of a recurrent genotype, for training from scratch.

References:
    DARTS, arXiv:1806.09055, section 3.1 and appendix A.2.2; Merity et al., "Regularizing and
    Optimizing LSTM Language Models", arXiv:1708.02182.
"""

from __future__ import annotations

from torch import Tensor, nn

from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.network import NetworkBase
from darts.spaces.recurrent.beam_search import beam_search
from darts.spaces.recurrent.cell import DiscreteCell
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.embedding import EmbeddingDecoder
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder
from darts.spaces.recurrent.genotype import Genotype


class Network(NetworkBase):
    """A language model: embedding, the cell of a genotype, and a decoder.

    There is one path into each node, so ``drop_path`` is 0.

    Args:
        genotype: the cell's architecture.
        vocabulary: number of tokens, V.
        embedding: size of an embedding, E (850 as published, for Penn Treebank).
        hidden: size of the states, H.
        tied: share the weights of the embedding and the decoder; requires E = H.
        dropouts: dropout rates in training.

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``.

    Raises:
        ValueError: if a size is not positive, or E and H differ although weights are tied.
    """

    genotype: Genotype

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
        super().__init__(genotype)
        dropouts = dropouts or DropoutRates()
        self.words = EmbeddingDecoder(vocabulary, embedding, hidden, tied, dropouts)
        self.cell = DiscreteCell(genotype, embedding, hidden, dropouts)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        """Predict the token that follows each token.

        Args:
            tokens: ``(T, B)``, int64.
            hidden: hidden state after the previous sequence, ``(B, H)``; None for zeros.
        """
        raw, hidden = self.cell(self.words.embed(tokens, self.rows), hidden, self.rows)
        return self.words.decode(raw, hidden, self.rows)


class TranslationNetwork(EncoderDecoder, NetworkBase):
    """An encoder-decoder whose three cells have the architecture of a genotype.

    There is one path into each node, so ``drop_path`` is 0.

    Args:
        genotype: the cells' architecture.
        sources, targets: vocabulary sizes of both sides.
        embedding, hidden: sizes E and H.
        tied: share the weights of the target embedding and the decoder's output layer.
        dropouts: dropout rates in training.
        joint, copy: see ``EncoderDecoder``.

    Raises:
        ValueError: if a size is not positive, or ``copy`` is set without ``joint``.
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
        tied: bool = True,
        dropouts: DropoutRates | None = None,
        joint: bool = False,
        copy: bool = False,
    ) -> None:
        dropouts = dropouts or DropoutRates()
        NetworkBase.__init__(self, genotype)
        EncoderDecoder.__init__(
            self,
            lambda width: DiscreteCell(genotype, width, hidden, dropouts),
            sources=sources,
            targets=targets,
            embedding=embedding,
            hidden=hidden,
            tied=tied,
            dropouts=dropouts,
            joint=joint,
            copy=copy,
        )

    def forward(
        self,
        sources: Tensor,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Compute logits for given targets, or decode the sources to words.

        Args:
            sources: token ids ``(S, B)``; padding follows the end token.
            inputs: decoder inputs ``(T, B)``, the targets after their begin token. If None, only
                the first word is predicted.
            max_length: if given, decode with a beam search to at most this many words.
            beam: number of hypotheses of the beam search; 1 for greedy decoding.

        Returns:
            Logits ``(T, B, V)``; with ``max_length``, token ids ``(L, B)``.
        """

        def run_cell(cell: nn.Module, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
            outputs: tuple[Tensor, Tensor] = cell(x, state, self.rows)
            return outputs

        if max_length is not None:
            return beam_search(self, sources, run_cell, max_length=max_length, beam=beam)
        return self.teacher_forcing(sources, inputs, run_cell)
