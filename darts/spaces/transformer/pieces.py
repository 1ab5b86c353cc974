"""Pieces of the transformer networks, for the cost of each candidate.

The cost of attention per word depends on the length of the text, so costs are those of one text of
``length`` words. The number of parameters does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn

from darts.spaces.network import NetworkPiece
from darts.spaces.transformer.frame import Embedding, ModelConfig, PositionalEncoding
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS
from darts.spaces.transformer.layers import make_feed_forward, make_mixer


def language_model_pieces(
    config: ModelConfig, cells: int, vocab_size: int, length: int
) -> Iterator[NetworkPiece]:
    """Yield all candidates of all blocks of a language model, and its fixed modules.

    The parameters and MACs of ``Network`` are the sums over its candidates and the fixed modules.
    The embedding is no piece of its own, because it shares its weights with the decoder.
    """
    yield from _body_pieces(config, cells, length, causal=True)
    yield NetworkPiece(partial(nn.Linear, config.width, vocab_size), (length, config.width))


def classifier_pieces(
    config: ModelConfig, cells: int, classes: int, vocab_size: int, length: int
) -> Iterator[NetworkPiece]:
    """Yield the pieces of a ``TextClassifier``; ``vocab_size`` is the number of tokens."""
    yield NetworkPiece(partial(Embedding, vocab_size, config.width), (length,))
    yield from _body_pieces(config, cells, length, causal=False)
    yield NetworkPiece(partial(nn.Linear, config.width, classes), (config.width,))


def _body_pieces(
    config: ModelConfig, cells: int, length: int, *, causal: bool
) -> Iterator[NetworkPiece]:
    """Yield the pieces between the embedding and the output layer."""
    shape = (length, config.width)
    yield NetworkPiece(partial(PositionalEncoding, config), shape)
    for row in range(cells):
        for column, name in enumerate(MIXERS):
            mixer = partial(make_mixer, name, config.width, causal)
            yield NetworkPiece(mixer, shape, ("mixer", row, column))
        for column, name in enumerate(FEED_FORWARDS):
            feed_forward = partial(make_feed_forward, name, config.width)
            yield NetworkPiece(feed_forward, shape, ("feed_forward", row, column))
    yield NetworkPiece(partial(nn.LayerNorm, config.width), shape)
