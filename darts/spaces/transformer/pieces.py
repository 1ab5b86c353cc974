"""The discrete networks of the transformer space taken apart, for what each candidate costs.

What attention costs a word depends on how many words there are, so that costs are those of a text
of a given length. Weights do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn

from darts.spaces.network_piece import NetworkPiece
from darts.spaces.transformer.frame import Embedding, PositionalEncoding, ModelConfig
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS
from darts.spaces.transformer.layers import make_feed_forward, make_mixer


def language_pieces(size: ModelConfig, cells: int, vocabulary: int, length: int) -> Iterator[NetworkPiece]:
    """All candidates of all blocks of a language model, and what is always there.

    Summed over the chosen candidates and the fixed parts, their parameters and multiply-accumulates
    are those of ``Network``. The decoder holds the embeddings.

    Args:
        size: of the network.
        cells: number of blocks.
        vocabulary: number of tokens.
        length: of a text, in tokens.
    """
    yield from _body(size, cells, length, causal=True)
    yield NetworkPiece(partial(nn.Linear, size.width, vocabulary), (length, size.width))


def classifier_pieces(
    size: ModelConfig, cells: int, classes: int, words: int, length: int
) -> Iterator[NetworkPiece]:
    """The same of ``TextClassifier``.

    Args:
        size: of the network.
        cells: number of blocks.
        classes: number of classes.
        words: how many there are.
        length: of a text, in words.
    """
    yield NetworkPiece(partial(Embedding, words, size.width), (length,))
    yield from _body(size, cells, length, causal=False)
    yield NetworkPiece(partial(nn.Linear, size.width, classes), (size.width,))


def _body(size: ModelConfig, cells: int, length: int, *, causal: bool) -> Iterator[NetworkPiece]:
    shape = (length, size.width)
    yield NetworkPiece(partial(PositionalEncoding, size), shape)
    for row in range(cells):
        for column, name in enumerate(MIXERS):
            make = partial(make_mixer, name, size.width, causal)
            yield NetworkPiece(make, shape, ("mixer", row, column))
        for column, name in enumerate(FEED_FORWARDS):
            yield NetworkPiece(
                partial(make_feed_forward, name, size.width), shape, ("feed_forward", row, column)
            )
    yield NetworkPiece(partial(nn.LayerNorm, size.width), shape)
