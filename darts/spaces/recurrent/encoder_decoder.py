"""What stands around recurrent cells where one sentence is to be said as another.

Two cells read the source, one from each end; a third says the target, word by word, and looks at
what the two have made of the source. All three have one architecture and weights of their own.

References:
    Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate", arXiv:1409.0473: reading from both ends, attention.
    Luong, Pham and Manning, "Effective Approaches to Attention-based Neural Machine Translation",
    arXiv:1508.04025, sections 3.1 and 3.3: attention by a product, behind the cell, so that the
    cell runs over a whole target at once. Its "input feeding" is left out for that.
    `pointer` for words that are taken over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.words import BEGIN, PADDING
from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.recurrent.cell import RecurrentCell
from darts.spaces.recurrent.dropout import DropoutRates, Rows, locked_dropout
from darts.spaces.recurrent.pointer_generator import PointerGenerator

Run = Callable[[nn.Module, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""Runs a cell over inputs ``(T, B, E)`` from a state ``(B, H)``: its outputs and last state."""


class Read(NamedTuple):
    """What the encoder has made of sources.

    Attributes:
        values: ``(B, S, 2H)``, what both cells put out at each word.
        keys: ``(B, S, H)``, what a decoder compares itself with.
        words: ``(B, S)``, the sources.
    """

    values: Tensor
    keys: Tensor
    words: Tensor

    def chosen(self, rows: Tensor) -> Read:
        """The same of some of the sources, perhaps repeated."""
        return Read(*(each[rows] for each in self))


EMBEDDING_STD = 0.15
"""Deviation of the numbers in embeddings at the start."""


class EncoderDecoder(nn.Module):
    """Embeddings, the way through three cells, attention, and the choice of words.

    Args:
        make_cell: makes a cell for inputs of a width.
        sources: number of words of the source.
        targets: number of words of the target, V.
        embedding: numbers in an embedding, E.
        hidden: numbers in a state, H.
        tied: whether the target's embeddings and the decoder share their weights.
        dropouts: of which ``embedding`` and ``output`` apply here.
        joint: whether both sides have one vocabulary, and so one table of embeddings.
        copy: whether words of the source may be taken over.

    Attributes:
        rows: what dropout needs to know when sentences are a part of a larger batch, or None.

    Raises:
        ValueError: for a size that is not positive, or copies between two vocabularies.
    """

    def __init__(
        self,
        make_cell: Callable[[int], RecurrentCell],
        *,
        sources: int,
        targets: int,
        embedding: int,
        hidden: int,
        tied: bool,
        dropouts: DropoutRates,
        joint: bool = False,
        copy: bool = False,
    ) -> None:
        super().__init__()
        check_positive(sources=sources, targets=targets, embedding=embedding, hidden=hidden)
        if copy and not joint:
            raise ValueError(
                "copy takes words of the source over, so both sides must have one vocabulary; "
                "set dataset.joint=true, or space.copy=false"
            )
        self.dropouts = dropouts
        self.rows: Rows = None
        self.source_words = None if joint else nn.Parameter(torch.empty(sources, embedding))
        self.target_words = nn.Parameter(torch.empty(targets, embedding))
        self.decoder = None if tied else nn.Parameter(torch.empty(targets, embedding))
        self.bias = nn.Parameter(torch.zeros(targets))
        for words in (self.source_words, self.target_words, self.decoder):
            if words is not None:
                nn.init.normal_(words, std=EMBEDDING_STD)
        self.reader = make_cell(embedding)
        self.back_reader = make_cell(embedding)
        self.speaker = make_cell(embedding)
        # The cells' own start suits the huge steps of a language model's SGD. Adam's are so small
        # that products which shrink their input teach nothing but how frequent words are.
        for cell in (self.reader, self.back_reader, self.speaker):
            cell.init_preserving_variance()
        self.first = nn.Linear(2 * hidden, hidden)
        self.key = nn.Linear(2 * hidden, hidden, bias=False)
        self.mix = nn.Linear(3 * hidden, embedding, bias=False)
        self.pointer = PointerGenerator(3 * hidden + embedding) if copy else None

    def read(self, sources: Tensor, run: Run) -> tuple[Read, Tensor]:
        """Read sources ``(S, B)``; returns what was read, and the decoder's first state."""
        own = self.target_words if self.source_words is None else self.source_words
        embedded = self._embedded(sources, own)
        lengths = (sources != PADDING).sum(0)
        turned = reversed_positions(lengths, len(sources))[..., None]
        ahead, _ = run(self.reader, embedded, None)
        back, _ = run(self.back_reader, embedded.gather(0, turned.expand_as(embedded)), None)
        back = back.gather(0, turned.expand_as(back))
        values = torch.cat([ahead, back], dim=2).transpose(0, 1)  # (B, S, 2H)
        ends = (lengths - 1).clamp_min(0)[None, :, None].expand(1, -1, ahead.shape[2])
        both = torch.cat([ahead.gather(0, ends)[0], back[0]], dim=1)
        return (
            Read(values, self.key(values), sources.t()),
            torch.tanh(self.first(both)),
        )

    def say(self, read: Read, inputs: Tensor, state: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Logits ``(T, B, V)`` of the words behind inputs ``(T, B)``, and the state behind them."""
        embedded = self._embedded(inputs, self.target_words)
        raw, state = run(self.speaker, embedded, state)
        asked = raw.transpose(0, 1)  # (B, T, H)
        scores = asked @ read.keys.transpose(1, 2) / math.sqrt(raw.shape[2])  # (B, T, S)
        weights = scores.masked_fill((read.words == PADDING)[:, None], -math.inf).softmax(2)
        seen = torch.cat([asked, weights.to(read.values.dtype) @ read.values], dim=2)
        mixed = torch.tanh(self.mix(seen)).transpose(0, 1)
        mixed = locked_dropout(mixed, self.dropouts.output, self.training, self.rows)
        words = self.target_words if self.decoder is None else self.decoder
        logits = F.linear(mixed, words, self.bias)
        if self.pointer is not None:
            told = torch.cat([seen.transpose(0, 1), embedded], dim=2)  # (T, B, 3H + E)
            logits = self.pointer(logits, weights.transpose(0, 1), read.words, told)
        return logits, state

    def run_through(self, sources: Tensor, inputs: Tensor | None, run: Run) -> Tensor:
        """Logits of given targets; of the first word alone without any."""
        if inputs is None:
            inputs = torch.full_like(sources[:1], BEGIN)
        read, state = self.read(sources, run)
        return self.say(read, inputs, state, run)[0]

    def _embedded(self, tokens: Tensor, words: Tensor) -> Tensor:
        if tokens.ndim != 2:
            raise ValueError(f"sentences must be (T, B), got {tuple(tokens.shape)}")
        found = F.embedding(tokens, words)
        return locked_dropout(found, self.dropouts.embedding, self.training, self.rows)


def reversed_positions(lengths: Tensor, max_length: int) -> Tensor:
    """Where each word comes from when sentences are turned round and padding stays behind them.

    Args:
        lengths: ``(B,)``.
        max_length: S.

    Returns:
        ``(S, B)`` of int64.
    """
    places = torch.arange(max_length, device=lengths.device)[:, None]
    turned = lengths[None] - 1 - places
    return torch.where(turned >= 0, turned, places.expand_as(turned))
