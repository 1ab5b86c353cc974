"""The supernets of the recurrent space: a language model and an encoder-decoder.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendix A.1.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from darts.spaces.network import LanguageModelOutput
from darts.spaces.recurrent.cell import NO_DROPOUT, DropoutRates
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder
from darts.spaces.recurrent.genotype import GROUP, PRIMITIVES, edges_of
from darts.spaces.recurrent.mixed_cell import MixedCell
from darts.spaces.recurrent.network import EmbeddingDecoder
from darts.spaces.supernet import SupernetBase


class RecurrentSupernet(SupernetBase):
    """Alphas and edges of the supernets; subclasses add the cells and the layers around them.

    Attributes:
        alphas: ``{"recurrent": (edges, 5)}``; 36 edges for 8 nodes, ordered by node, then by
            source.
    """

    space = "recurrent"

    def _init_edges(self, nodes: int, cells: int) -> None:
        endpoints = edges_of(nodes)
        self.candidates = {GROUP: (PRIMITIVES,) * len(endpoints)}
        self.edges, self.counts = {GROUP: endpoints}, {GROUP: cells}
        self.shapes = {GROUP: (len(endpoints), len(PRIMITIVES))}
        self.alphas = self.make_alphas()


class Supernet(RecurrentSupernet):
    """A language model: embedding, the cell with all candidates, and a decoder (output layer).

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``.
    """

    cell_class: ClassVar[type[MixedCell]] = MixedCell

    def __init__(
        self,
        vocab_size: int,
        *,
        embedding: int = 300,
        hidden: int = 300,
        nodes: int = 8,
        tied: bool = True,
        dropouts: DropoutRates = NO_DROPOUT,
    ) -> None:
        super().__init__()
        self.words = EmbeddingDecoder(vocab_size, embedding, hidden, tied, dropouts)
        self.cell = self.cell_class(embedding, hidden, nodes, dropouts)
        self._init_edges(nodes, cells=1)

    def forward(
        self,
        tokens: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        hidden: Tensor | None = None,
    ) -> LanguageModelOutput:
        """Predict the token that follows each token; the mixing weights are ``(edges, 5)``."""
        cell_weights, _, active = self.make_mixture(weights).of_cell(GROUP, 0)
        raw, hidden = self.cell(self.words.embed(tokens), hidden, cell_weights, active)
        return self.words.decode(raw, hidden)


class TranslationSupernet(RecurrentSupernet):
    """An encoder-decoder whose three cells have all candidates and share the alphas.

    The flags are ``tied``, ``joint`` and ``copy``, see ``EncoderDecoder``.
    """

    def __init__(
        self,
        sources: int,
        targets: int,
        *,
        embedding: int,
        hidden: int,
        nodes: int = 8,
        dropouts: DropoutRates = NO_DROPOUT,
        **flags: bool,
    ) -> None:
        super().__init__()
        self.translator = EncoderDecoder(
            lambda width: MixedCell(width, hidden, nodes, dropouts),
            sources,
            targets,
            embedding=embedding,
            hidden=hidden,
            dropouts=dropouts,
            **flags,
        )
        self._init_edges(nodes, cells=3)

    def forward(
        self,
        sources: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Compute logits or decode; see ``EncoderDecoder.translate``.

        The mixing weights are ``(edges, 5)``, or ``(3, edges, 5)`` if each cell has its own.
        """
        mixture = self.make_mixture(weights)
        cells = [mixture.of_cell(GROUP, index) for index in range(3)]
        arguments = [(cell.weights, cell.active) for cell in cells]
        return self.translator.translate(sources, inputs, arguments, max_length, beam)
