"""The supernets of the recurrent space: a language model and an encoder-decoder.

All edges into a node share one matrix product, and each activation runs once for all of them. Every
candidate of an edge from state ``s`` has the same gate ``c`` (here after the sigmoid) and the same
bypass, so only the activations need the mixing weights ``w_k``:

    sum_k w_k (s + c (f_k(g) - s)) = s' + c (sum_k w_k f_k(g) - s'),    s' = s sum_k w_k.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3: batch norm without affine parameters in each node
    during the search; appendix A.1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import ClassVar, NamedTuple, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, normalize_shared
from darts.ops.transfer import to_device
from darts.spaces.deriving import ByGroup
from darts.spaces.network import LanguageModelOutput
from darts.spaces.rank_dropout import apply_mask
from darts.spaces.recurrent.cell import (
    FUNCTIONS,
    ModelSettings,
    RecurrentCell,
    highway,
    init_preserving_variance,
)
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder, TranslationSettings
from darts.spaces.recurrent.genotype import GROUP, PRIMITIVES, edges_of
from darts.spaces.recurrent.network import EmbeddingDecoder
from darts.spaces.supernet import SupernetBase

# For each edge the columns of its active candidates, or None if all are active.
ActiveColumns = Sequence[Sequence[int]] | None


class NodeInputs(NamedTuple):
    """The edges into one node that have an active candidate other than ``none``."""

    sources: list[int]
    weights: dict[str, Tensor]  # by activation, its mixing weight on each edge, (sources, 1, 1)
    total: Tensor

    def node(self, states: Sequence[Tensor], weight: Tensor, mask: Tensor | None) -> Tensor:
        """Return the node before its norm, ``(B, H)``; zeros if it has no edges.

        ``weight`` is its matrix, and ``mask`` the dropout mask of the states.
        """
        if not self.sources:
            return torch.zeros_like(states[0])
        sources = torch.stack([states[source] for source in self.sources])  # (sources, B, H)
        count, batch, width = sources.shape
        product = apply_mask(sources, mask).view(-1, width) @ weight
        gate, new = product.view(count, batch, -1).chunk(2, dim=2)
        terms = [factor * FUNCTIONS[name](new) for name, factor in self.weights.items()]
        mixed: Tensor = reduce(torch.add, terms)
        return highway(sources * self.total, mixed, torch.sigmoid(gate)).sum(0)


class MixedCell(RecurrentCell):
    """All candidates of all edges of a cell."""

    process_group: dist.ProcessGroup | None = None

    def __init__(self, settings: ModelSettings, nodes: int) -> None:
        super().__init__(settings, nodes)
        # All states contribute to the running statistics, as published.
        self.norm = nn.BatchNorm2d(settings.hidden, affine=False)

    def init_preserving_variance(self) -> None:
        """Redraw ``input_weight`` so that its product keeps the variance of the inputs.

        Batch norm keeps the variance of the states. Larger weights between them would make the
        gradient grow with every step back in time.
        """
        init_preserving_variance(self.input_weight)

    def forward(
        self, inputs: Tensor, hidden: Tensor | None, weights: Tensor, active: ActiveColumns = None
    ) -> tuple[Tensor, Tensor]:
        """Run the cell over a sequence with mixing weights ``(edges, 5)``; see ``DiscreteCell``.

        The weights of candidates that are not active get no gradient, and edges without an active
        candidate are not computed.
        """
        hidden = self.initial_hidden(inputs, hidden)
        prepared = self.prepare(inputs, hidden)
        all_inputs = node_inputs(weights, active, self.nodes)
        node_weights = self.node_weights.unbind()
        outputs = []
        for projected in prepared.projected:
            states = [self._normalize(prepared.state0(projected, hidden))]
            for weight, edges in zip(node_weights, all_inputs, strict=True):
                states.append(self._normalize(edges.node(states, weight, prepared.mask)))
            hidden = torch.stack(states[1:]).mean(0)
            outputs.append(hidden)
        if self.training and self.norm.num_batches_tracked is not None:
            self.norm.num_batches_tracked.add_(len(outputs) * (self.nodes + 1))
        return torch.stack(outputs), hidden

    def _normalize(self, x: Tensor) -> Tensor:
        """Normalize a state ``(B, H)`` with its own statistics, which update the running ones."""
        norm, group = self.norm, self.process_group
        mean, variance, momentum = norm.running_mean, norm.running_var, cast(float, norm.momentum)
        if not self.training or group is None:
            return F.batch_norm(x, mean, variance, None, None, self.training, momentum, norm.eps)
        shared = normalize_shared(x[:, :, None, None], norm.eps, group)
        if mean is not None and variance is not None:
            RunningStats(mean, variance, momentum).update(shared.mean, shared.variance)
        return shared.output[:, :, 0, 0]


def node_inputs(weights: Tensor, active: ActiveColumns, nodes: int) -> list[NodeInputs]:
    """Return for each node its active incoming edges."""
    columns = [range(len(PRIMITIVES))] * len(weights) if active is None else active
    activations = [[column for column in row if column] for row in columns]  # column 0 is none
    if active is not None:
        mask = torch.zeros(weights.shape)
        for edge, row in enumerate(activations):
            mask[edge, row] = 1
        weights = weights * to_device(mask, weights.device)
    rows = weights.unbind()
    inputs: list[NodeInputs] = []
    for node in range(1, nodes + 1):
        first = node * (node - 1) // 2  # of the edges into this node, which are sorted by source
        sources = [source for source in range(node) if activations[first + source]]
        if not sources:
            inputs.append(NodeInputs([], {}, weights))
            continue
        node_columns = torch.stack([rows[first + source] for source in sources], dim=1)
        used = sorted({column for source in sources for column in activations[first + source]})
        by_name = {PRIMITIVES[column]: node_columns[column][:, None, None] for column in used}
        total = torch.stack(list(by_name.values())).sum(0)
        inputs.append(NodeInputs(sources, by_name, total))
    return inputs


class RecurrentSupernet(SupernetBase):
    """Alphas and edges of the supernets; subclasses add the cells and the layers around them.

    Attributes:
        alphas: ``{"recurrent": (edges, 5)}``; 36 edges for 8 nodes, ordered by node, then by
            source.
    """

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

    def __init__(self, vocab_size: int, settings: ModelSettings, nodes: int) -> None:
        super().__init__()
        self.words = EmbeddingDecoder(vocab_size, settings)
        self.cell = self.cell_class(settings, nodes)
        self._init_edges(nodes, cells=1)

    def forward(
        self, tokens: Tensor, mixture: ByGroup | None = None, hidden: Tensor | None = None
    ) -> LanguageModelOutput:
        """Predict the token that follows each token; the mixing weights are ``(edges, 5)``."""
        weights, _, active = self.make_mixture(mixture).of_cell(GROUP, 0)
        raw, hidden = self.cell(self.words.embed(tokens), hidden, weights, active)
        return self.words.decode(raw, hidden)


class TranslationSupernet(RecurrentSupernet):
    """An encoder-decoder whose three cells have all candidates and share the alphas."""

    def __init__(self, settings: TranslationSettings, nodes: int) -> None:
        super().__init__()
        self.translator = EncoderDecoder(partial(MixedCell, settings, nodes), settings)
        self._init_edges(nodes, cells=3)

    def forward(
        self,
        sources: Tensor,
        mixture: ByGroup | None = None,
        inputs: Tensor | None = None,
        max_length: int | None = None,
        beam: int = 1,
    ) -> Tensor:
        """Compute logits or decode; see ``EncoderDecoder.translate``.

        The mixing weights are ``(edges, 5)``, or ``(3, edges, 5)`` if each cell has its own.
        """
        mixture = self.make_mixture(mixture)
        cells = [mixture.of_cell(GROUP, index) for index in range(3)]
        arguments = [(cell.weights, cell.active) for cell in cells]
        return self.translator.translate(sources, inputs, arguments, max_length, beam)
