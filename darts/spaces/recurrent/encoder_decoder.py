"""Encoder-decoder with attention around recurrent cells, for translation and summarization.

Two cells encode the source, one from each end. A third cell decodes the target word by word and
attends to the encoded source. The three cells have the same architecture and separate weights.

References:
    Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate", arXiv:1409.0473: bidirectional encoder, attention.
    Luong, Pham and Manning, "Effective Approaches to Attention-based Neural Machine Translation",
    arXiv:1508.04025, sections 3.1 and 3.3: dot-product attention after the cell, so that one call
    of the cell processes a whole target. Input feeding would prevent this and is not implemented.
    See, Liu and Manning, "Get To The Point: Summarization with Pointer-Generator Networks",
    arXiv:1704.04368, section 2.2: copying of source words. The extended vocabulary of
    out-of-vocabulary source words and the coverage mechanism are not implemented.
    Beam search: Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks",
    arXiv:1409.3215, section 3.2; length normalization: Wu et al., "Google's Neural Machine
    Translation System", arXiv:1609.08144, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.words import BEGIN, END, PADDING, UNKNOWN
from darts.spaces.recurrent.cell import ModelSettings, RecurrentCell, locked_dropout

# What the forward encoder, the backward encoder and the decoder cell get after their inputs and
# their hidden state.
CellArguments = Sequence[tuple[object, ...]]

EMBEDDING_STD = 0.15  # of the initial embeddings


class EncodedSource(NamedTuple):
    """The encoder's output for a batch of sources."""

    values: Tensor  # outputs of both encoder cells at each word, (B, S, 2H)
    keys: Tensor  # attention keys, (B, S, H)
    words: Tensor  # token ids, (B, S)


class PointerGenerator(nn.Module):
    """Mixes the vocabulary distribution with the attention distribution over source words.

    From W features, it predicts the probability that a word is generated instead of copied.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.choice = nn.Linear(width, 1)

    def forward(self, logits: Tensor, weights: Tensor, words: Tensor, features: Tensor) -> Tensor:
        """Return log-probabilities ``(T, B, V)``, which are valid logits, in float32 or wider.

        ``weights``, ``(T, B, S)``, are the attention weights of the source's ``words``, ``(B, S)``.
        """
        generate = torch.sigmoid(self.choice(features))  # (T, B, 1)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        mixed = logits.softmax(2, dtype=dtype) * generate
        copied = ((1 - generate) * weights).to(mixed.dtype)
        mixed = mixed.scatter_add(2, words.expand(len(logits), -1, -1), copied)
        return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()


@dataclass(frozen=True, kw_only=True)
class TranslationSettings(ModelSettings):
    """Sizes and options of an encoder-decoder.

    Attributes:
        sources, targets: Sizes of the vocabularies.
        joint: Whether both sides have one vocabulary and share one embedding table.
        copy: Whether the decoder can copy words of the source.
    """

    sources: int
    targets: int
    joint: bool = False
    copy: bool = False


class EncoderDecoder(nn.Module):
    """Embeddings, three recurrent cells, attention and the output layer.

    E is the size of an embedding, H of a hidden state, V of the target vocabulary. This module
    applies the dropout rates ``embedding`` and ``output``.
    """

    def __init__(
        self, make_cell: Callable[[], RecurrentCell], settings: TranslationSettings
    ) -> None:
        nn.Module.__init__(self)  # not super(): TranslationNetwork initializes NetworkBase itself
        targets, embedding, hidden = settings.targets, settings.embedding, settings.hidden
        if settings.copy and not settings.joint:
            raise ValueError(
                "space.copy=true: source and target must have one vocabulary; "
                "set dataset.joint=true, or space.copy=false"
            )
        self.dropouts = settings.dropouts
        self.source_words = (
            None if settings.joint else nn.Parameter(torch.empty(settings.sources, embedding))
        )
        self.target_words = nn.Parameter(torch.empty(targets, embedding))
        self.decoder = None if settings.tied else nn.Parameter(torch.empty(targets, embedding))
        self.bias = nn.Parameter(torch.zeros(targets))
        for table in (self.source_words, self.target_words, self.decoder):
            if table is not None:
                nn.init.normal_(table, std=EMBEDDING_STD)
        cells = [make_cell() for _ in range(3)]
        self.forward_encoder, self.backward_encoder, self.decoder_cell = cells
        # The default initialization of cells suits the large SGD steps of a language model. With
        # it, matrix products shrink their inputs, so with Adam's small steps the network would
        # learn only word frequencies.
        for cell in cells:
            cell.init_preserving_variance()
        self.initial_state = nn.Linear(2 * hidden, hidden)
        self.key = nn.Linear(2 * hidden, hidden, bias=False)
        self.mix = nn.Linear(3 * hidden, embedding, bias=False)
        self.pointer = PointerGenerator(3 * hidden + embedding) if settings.copy else None

    def translate(
        self,
        sources: Tensor,
        inputs: Tensor | None,
        arguments: CellArguments,
        max_length: int | None,
        beam: int,
    ) -> Tensor:
        """Compute logits ``(T, B, V)`` for given targets, or decode sources to words ``(L, B)``.

        Args:
            sources: Token ids ``(S, B)``; padding follows the end token.
            inputs: Decoder inputs ``(T, B)``: the begin token and then the targets; None for the
                begin token alone.
            max_length: If given, decode with a beam search to at most this many words.
        """
        if max_length is not None:
            return beam_search(self, sources, arguments, max_length, beam)
        if inputs is None:
            inputs = torch.full_like(sources[:1], BEGIN)
        encoded, state = self.encode(sources, arguments)
        return self.decode(encoded, inputs, state, arguments)[0]

    def encode(self, sources: Tensor, arguments: CellArguments) -> tuple[EncodedSource, Tensor]:
        """Encode token ids ``(S, B)``; also return the decoder's initial state ``(B, H)``."""
        table = self.target_words if self.source_words is None else self.source_words
        embedded = self._embed(sources, table)
        lengths = (sources != PADDING).sum(0)
        reverse = reversed_positions(lengths, len(sources))[..., None]
        reversed_input = embedded.gather(0, reverse.expand_as(embedded))
        forward, _ = self.forward_encoder(embedded, None, *arguments[0])
        backward, _ = self.backward_encoder(reversed_input, None, *arguments[1])
        backward = backward.gather(0, reverse.expand_as(backward))
        values = torch.cat([forward, backward], dim=2).transpose(0, 1)  # (B, S, 2H)
        ends = (lengths - 1).clamp_min(0)[None, :, None].expand(1, -1, forward.shape[2])
        last = torch.cat([forward.gather(0, ends)[0], backward[0]], dim=1)
        encoded = EncodedSource(values, self.key(values), sources.t())
        return encoded, torch.tanh(self.initial_state(last))

    def decode(
        self, encoded: EncodedSource, inputs: Tensor, state: Tensor, arguments: CellArguments
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(T, B, V)`` of the word after each input, and the state ``(B, H)``."""
        embedded = self._embed(inputs, self.target_words)
        raw, state = self.decoder_cell(embedded, state, *arguments[2])
        queries = raw.transpose(0, 1)  # (B, T, H)
        scores = queries @ encoded.keys.transpose(1, 2) / math.sqrt(raw.shape[2])  # (B, T, S)
        weights = scores.masked_fill((encoded.words == PADDING)[:, None], -math.inf).softmax(2)
        context = weights.to(encoded.values.dtype) @ encoded.values
        features = torch.cat([queries, context], dim=2)  # (B, T, 3H)
        mixed = torch.tanh(self.mix(features)).transpose(0, 1)
        mixed = locked_dropout(self, mixed, self.dropouts.output)
        table = self.target_words if self.decoder is None else self.decoder
        logits = F.linear(mixed, table, self.bias)
        if self.pointer is not None:
            features = torch.cat([features.transpose(0, 1), embedded], dim=2)  # (T, B, 3H + E)
            logits = self.pointer(logits, weights.transpose(0, 1), encoded.words, features)
        return logits, state

    def _embed(self, tokens: Tensor, table: Tensor) -> Tensor:
        return locked_dropout(self, F.embedding(tokens, table), self.dropouts.embedding)


def reversed_positions(lengths: Tensor, steps: int) -> Tensor:
    """Return the indices ``(S, B)`` that reverse each sentence and leave its padding in place.

    ``lengths``, ``(B,)``, are numbers of words without padding, and S = ``steps`` is with padding.
    """
    positions = torch.arange(steps, device=lengths.device)[:, None]
    reverse = lengths[None] - 1 - positions
    return torch.where(reverse >= 0, reverse, positions.expand_as(reverse))


@torch.no_grad()
def beam_search(
    net: EncoderDecoder, sources: Tensor, arguments: CellArguments, max_length: int, beam: int
) -> Tensor:
    """Decode sources ``(S, B)`` to at most ``max_length`` token ids ``(L, B)``, then padding.

    The score of a hypothesis is the mean log-probability per word.
    """
    encoded, state = net.encode(sources, arguments)
    batch = sources.shape[1]
    rows = torch.arange(batch, device=sources.device).repeat_interleave(beam)
    encoded, state = EncodedSource(*[own[rows] for own in encoded]), state[rows]
    # At the first step all hypotheses of a source are equal, so only the first one counts.
    totals = torch.full((batch, beam), -math.inf, device=sources.device)
    totals[:, 0] = 0.0
    lengths = torch.zeros(batch, beam, device=sources.device)
    words = sources.new_zeros(0, batch * beam)
    last = sources.new_full((1, batch * beam), BEGIN)
    ended = torch.zeros(batch, beam, dtype=torch.bool, device=sources.device)
    while len(words) < max_length and not bool(ended.all()):
        logits, state = net.decode(encoded, last, state, arguments)
        logits = logits[0].float()
        logits[:, [PADDING, UNKNOWN, BEGIN]] = -math.inf  # never produced
        log_probs = logits.log_softmax(1).view(batch, beam, -1)
        only_padding = torch.full_like(log_probs, -math.inf)
        only_padding[..., PADDING] = 0.0  # an ended hypothesis keeps its score
        log_probs = torch.where(ended[..., None], only_padding, log_probs)
        new_lengths = lengths + ~ended
        means = (totals[..., None] + log_probs) / new_lengths[..., None].clamp_min(1)
        _, best = means.flatten(1).topk(beam, dim=1)
        parents, tokens = best // log_probs.shape[2], best % log_probs.shape[2]
        totals = (totals[..., None] + log_probs).flatten(1).gather(1, best)
        lengths, ended = new_lengths.gather(1, parents), ended.gather(1, parents) | (tokens == END)
        rows = (parents + beam * torch.arange(batch, device=sources.device)[:, None]).flatten()
        state, last = state[rows], tokens.view(1, -1)
        words = torch.cat([words[:, rows], last])
    winners = (totals / lengths.clamp_min(1)).argmax(1)
    return words[:, winners + beam * torch.arange(batch, device=sources.device)]
