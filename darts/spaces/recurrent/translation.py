"""Both networks of the recurrent space for pairs of sentences.

References:
    DARTS, arXiv:1806.09055, section 3.1, for the cells; `translator` for what is around them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from darts.spaces.mixture import as_mixture
from darts.spaces.recurrent.cell import DiscreteCell
from darts.spaces.recurrent.beam_search import decode
from darts.spaces.recurrent.derive import GROUP, edges_of
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.genotype import PRIMITIVES, Genotype
from darts.spaces.recurrent.mixed_cell import MixedCell
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder
from darts.spaces.supernet import SupernetBase

CELLS = 3  # one for each direction of the source, and the decoder's


class TranslationNetwork(EncoderDecoder):
    """A translator with the cell of a genotype.

    Args:
        genotype: the cell.
        sources, targets: numbers of words.
        embedding, hidden: sizes, E and H.
        tied: whether the target's embeddings and the decoder share their weights.
        dropouts: what is dropped in training.
        joint, copy: see ``EncoderDecoder``.

    Attributes:
        auxiliary: None.
        drop_path: 0, as there is one path into each node.
    """

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
        super().__init__(
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
        self.genotype = genotype
        self.auxiliary: nn.Module | None = None
        self.drop_path = 0.0

    def forward(
        self,
        sources: Tensor,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Say sources in other words.

        Args:
            sources: ``(S, B)``, padded behind their ends.
            inputs: ``(T, B)``, targets behind their beginning; without, the first word is asked.
            max_length: translate, in so many words at most, instead.
            beam: see ``decode``.

        Returns:
            Logits ``(T, B, V)``, or words ``(L, B)``.
        """

        def run(cell: nn.Module, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = cell(x, state, self.rows)
            return found

        if max_length is not None:
            return decode(self, sources, run, max_length=max_length, beam=beam)
        return self.run_through(sources, inputs, run)


class TranslationSupernet(SupernetBase):
    """A translator with the cell of all candidates; see ``Supernet`` of language models.

    Args:
        sources, targets: numbers of words.
        embedding, hidden: sizes, E and H.
        nodes: of the cell beside state 0.
        tied: whether the target's embeddings and the decoder share their weights.
        dropouts: of which ``weight`` must be 0.
        joint, copy: see ``EncoderDecoder``.

    Raises:
        ValueError: for a size that is not positive, dropped weights, or copies between two
            vocabularies.
    """

    space = "recurrent"

    def __init__(
        self,
        sources: int,
        targets: int,
        *,
        embedding: int,
        hidden: int,
        nodes: int = 8,
        tied: bool = True,
        dropouts: DropoutRates | None = None,
        joint: bool = False,
        copy: bool = False,
    ) -> None:
        super().__init__()
        dropouts = dropouts or DropoutRates()
        if dropouts.weight > 0:
            raise ValueError(
                f"the supernet of the recurrent space drops no weights, got {dropouts.weight}; "
                "set the dropout of weights to 0"
            )
        self.translator = EncoderDecoder(
            lambda width: MixedCell(width, hidden, nodes, dropouts),
            sources=sources,
            targets=targets,
            embedding=embedding,
            hidden=hidden,
            tied=tied,
            dropouts=dropouts,
            joint=joint,
            copy=copy,
        )
        places = edges_of(nodes)
        self.candidates = {GROUP: (PRIMITIVES,) * len(places)}
        self.edges, self.counts = {GROUP: places}, {GROUP: CELLS}
        self.shapes = {GROUP: (len(places), len(PRIMITIVES))}
        start = 1e-3 * torch.randn(self.shapes[GROUP])
        self.alphas = nn.ParameterDict({GROUP: nn.Parameter(start)})

    def forward(
        self,
        sources: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Say sources in other words; as ``TranslationNetwork``, with mixing weights."""
        if weights is None:
            weights = {GROUP: self.alphas[GROUP].softmax(-1)}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        net = self.translator
        places = {id(cell): n for n, cell in enumerate((net.reader, net.back_reader, net.speaker))}

        def run(cell: nn.Module, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
            own, _, active = mixture.of_cell(GROUP, places[id(cell)])
            found: tuple[Tensor, Tensor] = cell(x, state, own, active)
            return found

        if max_length is not None:
            return decode(net, sources, run, max_length=max_length, beam=beam)
        return net.run_through(sources, inputs, run)
