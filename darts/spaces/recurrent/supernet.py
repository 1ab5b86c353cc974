"""The supernet of the recurrent space, as a language model.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendix A.1.2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from darts.spaces.mixture import as_mixture
from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.recurrent.derive import GROUP, edges_of
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.mixed_cell import MixedCell
from darts.spaces.recurrent.embedding import EmbeddingDecoder
from darts.spaces.supernet import SupernetBase


class Supernet(SupernetBase):
    """Embeddings, the cell of all candidates, and a decoder.

    The alphas are parameters, so they are in the state dict, but ``weight_parameters`` leaves them
    out.

    Args:
        vocabulary: number of tokens, V.
        embedding: numbers in an embedding, E.
        hidden: numbers in a state, H.
        nodes: of the cell beside state 0.
        tied: whether embeddings and decoder share their weights.
        dropouts: of which ``weight`` must be 0.

    Attributes:
        alphas: ``{"recurrent": (edges, 5)}``; 36 edges for 8 nodes, node by node and within a node
            input by input.
        candidates: ``{"recurrent": for each edge the names of the alphas' columns}``.
        edges: ``{"recurrent": each edge's source and target}``.
        counts: ``{"recurrent": 1}``: there is one cell.
        shapes: of the mixing weights.

    Shape: tokens ``(T, B)``, and a hidden state ``(B, H)`` -> ``LanguageModelOutput``.

    Raises:
        ValueError: for a size that is not positive, tied weights of two shapes, or dropped weights.
    """

    space = "recurrent"
    cell_class = MixedCell

    def __init__(
        self,
        vocabulary: int,
        *,
        embedding: int = 300,
        hidden: int = 300,
        nodes: int = 8,
        tied: bool = True,
        dropouts: DropoutRates | None = None,
    ) -> None:
        super().__init__()
        dropouts = dropouts or DropoutRates()
        if dropouts.weight > 0:
            raise ValueError(
                f"the supernet of the recurrent space drops no weights, got {dropouts.weight}; "
                "set the dropout of weights to 0"
            )
        self.words = EmbeddingDecoder(vocabulary, embedding, hidden, tied, dropouts)
        self.cell = self.cell_class(embedding, hidden, nodes, dropouts)
        places = edges_of(nodes)
        self.candidates = {GROUP: (PRIMITIVES,) * len(places)}
        self.edges, self.counts = {GROUP: places}, {GROUP: 1}
        self.shapes = {GROUP: (len(places), len(PRIMITIVES))}
        # Small random values, as published: they break ties without preferring anything.
        start = 1e-3 * torch.randn(self.shapes[GROUP])
        self.alphas = nn.ParameterDict({GROUP: nn.Parameter(start)})

    def forward(
        self,
        tokens: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        hidden: Tensor | None = None,
    ) -> LanguageModelOutput:
        """Say what follows.

        Args:
            tokens: ``(T, B)``, int64.
            weights: mixing weights ``{"recurrent": (edges, 5)}``; a ``Mixture`` may say which of
                them are active. When not given, the softmax of the supernet's own alphas.
            hidden: ``(B, H)``, what came out before; None for zeros.
        """
        if weights is None:
            weights = {GROUP: self.alphas[GROUP].softmax(-1)}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        own, _, active = mixture.of_cell(GROUP, 0)
        raw, hidden = self.cell(self.words.embed(tokens), hidden, own, active)
        return self.words.decode(raw, hidden)
