"""The layers of a transformer's block, each with the norm in front of it.

A block adds to its input ``x`` what a mixer makes of ``norm(x)``, and to that what a feed-forward
layer makes of its norm. Layers have biases in front of an activation only: what they put out is
then linear in the weights of their last map, which the supernet makes use of.

Attention is written out, since the fused kernels of PyTorch cannot be differentiated twice, which
``bilevel.hvp=exact`` does.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.
    The norm in front: Xiong et al., "On Layer Normalization in the Transformer Architecture",
    arXiv:2002.04745.
    Depthwise convolutions in the place of attention: Wu et al., "Pay Less Attention with
    Lightweight and Dynamic Convolutions", arXiv:1901.10430.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.network import drop_path
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS

Rows = tuple[int, int] | None
"""The place of the first of these texts in a larger batch, and the size of that batch."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class AttentionMask(NamedTuple):
    """What of a batch of texts may be looked at.

    Attributes:
        unseen: True where a word must not look, in a shape that expands to ``(B, heads, T, T)``,
            those who look before those who are looked at.
        words: ``(B, T, 1)``, True where there is a word and False behind the end of a text; None
            where all texts are as long.
    """

    unseen: Tensor
    words: Tensor | None


def numbers_of(names: tuple[str, ...], kind: str) -> tuple[int, ...]:
    """The numbers in the names of one kind: heads of ``attention``, words of ``conv``."""
    return tuple(int(name.split("_")[1]) for name in names if name.startswith(f"{kind}_"))


HEADS = numbers_of(MIXERS, "attention")
TAPS = numbers_of(MIXERS, "conv")
RATIOS = tuple(dict.fromkeys(int(name.split("_")[1]) for name in FEED_FORWARDS))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(B, T, D)`` -> ``(B, heads, T, D / heads)``."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """``(B, heads, T, D / heads)`` -> ``(B, T, D)``."""
    return x.transpose(1, 2).flatten(2)


def products_of(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Of each head the product of every query with every key, ``(B, heads, T, T)``."""
    return split_heads(queries, heads) @ split_heads(keys, heads).transpose(2, 3)


def attention_weights(products: Tensor, size: int, sight: AttentionMask | None) -> Tensor:
    """The softmax of products of vectors of ``size`` numbers, ``(B, heads, T, T)``."""
    scores = products / math.sqrt(size)
    if sight is not None:
        # Not minus infinity, of which a text without a word would have nothing else.
        scores = scores.masked_fill(sight.unseen, torch.finfo(scores.dtype).min)
    return scores.softmax(3)


def convolve(x: Tensor, kernel: Tensor, causal: bool, sight: AttentionMask | None) -> Tensor:
    """Filter each number of the words along the text; beyond its ends there are zeros.

    Args:
        x: ``(B, T, D)``.
        kernel: ``(D, taps)``, that of the earliest word first.
        causal: whether the last tap is at the word itself; else the middle one is.
        sight: where there are words.

    Returns:
        ``(B, T, D)``.
    """
    if sight is not None and sight.words is not None:
        x = x * sight.words
    width, taps = kernel.shape
    before = taps - 1 if causal else taps // 2
    padded = F.pad(x.transpose(1, 2), (before, taps - 1 - before))  # (B, D, T + taps - 1)
    return F.conv1d(padded, kernel[:, None], groups=width).transpose(1, 2)


def make_kernel(width: int, taps: int) -> nn.Parameter:
    """A kernel of a depthwise convolution, ``(width, taps)``."""
    bound = 1 / math.sqrt(taps)
    return nn.Parameter(torch.empty(width, taps).uniform_(-bound, bound))


def dropped(x: Tensor, probability: float, training: bool, rows: Rows = None) -> Tensor:
    """Dropout whose draws do not depend on how many ranks share a batch, ``(B, T, D)``."""
    if not training or probability == 0:
        return x
    keep = 1.0 - probability
    first, count = rows or (0, x.shape[0])
    mask = x.new_empty(count, *x.shape[1:]).bernoulli_(keep).div_(keep)
    return x * mask[first : first + x.shape[0]]


class Attention(nn.Module):
    """Each word becomes a mean of all it sees, weighted by each of several heads.

    Args:
        width: numbers of a word, D.
        heads: among which they are shared out.

    Shape: ``(B, T, D)`` -> the same.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def forward(self, x: Tensor, sight: AttentionMask | None = None) -> Tensor:
        queries, keys, values = self.project(self.norm(x)).chunk(3, dim=2)
        products = products_of(queries, keys, self.heads)
        weights = attention_weights(products, x.shape[2] // self.heads, sight)
        y: Tensor = self.out(join_heads(weights @ split_heads(values, self.heads)))
        return y


class Convolution(nn.Module):
    """A depthwise convolution along the text.

    Args:
        width: numbers of a word, D.
        taps: words that it reaches over, an odd number.
        causal: whether they are the word itself and those before it; else it is the middle one.

    Shape: ``(B, T, D)`` -> the same.
    """

    def __init__(self, width: int, taps: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.norm = nn.LayerNorm(width)
        self.kernel = make_kernel(width, taps)

    def extra_repr(self) -> str:
        return f"taps={self.kernel.shape[1]}, causal={self.causal}"

    def forward(self, x: Tensor, sight: AttentionMask | None = None) -> Tensor:
        return convolve(self.norm(x), self.kernel, self.causal, sight)


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, for each word alone.

    Args:
        width: numbers of a word, D.
        ratio: how many times as many there are inside.
        activation: of ``ACTIVATIONS``.

    Shape: ``(B, T, D)`` -> the same.
    """

    def __init__(self, width: int, ratio: int, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width, bias=False)

    def extra_repr(self) -> str:
        return self.activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(ACTIVATIONS[self.activation](self.up(self.norm(x))))
        return y


def make_mixer(name: str, width: int, causal: bool) -> nn.Module:
    """One of ``MIXERS``."""
    if name == "identity":
        return nn.Identity()
    kind, number = name.split("_")
    if kind == "attention":
        return Attention(width, int(number))
    return Convolution(width, int(number), causal)


def make_feed_forward(name: str, width: int) -> FeedForward:
    """One of ``FEED_FORWARDS``."""
    activation, ratio = name.split("_")
    return FeedForward(width, int(ratio), activation)


class Block(nn.Module):
    """A mixer and a feed-forward layer, each added to its input.

    Args:
        mixer: of ``MIXERS``. The identity adds nothing.
        feed_forward: of ``FEED_FORWARDS``.
        width: numbers of a word, D.
        causal: whether words see none behind them.
        dropout: probability with which a number of what a layer adds is dropped in training.

    Shape: ``(B, T, D)`` -> the same.
    """

    def __init__(
        self, mixer: str, feed_forward: str, width: int, *, causal: bool, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.mixer = make_mixer(mixer, width, causal)
        self.feed_forward = make_feed_forward(feed_forward, width)

    def forward(self, x: Tensor, sight: AttentionMask, path: float = 0.0, rows: Rows = None) -> Tensor:
        """The block's output.

        Args:
            x: ``(B, T, D)``.
            sight: what may be looked at.
            path: probability with which all that a layer adds to a text is dropped, in training.
            rows: of the draws.
        """
        if not isinstance(self.mixer, nn.Identity):
            x = x + self._dropped(self.mixer(x, sight), path, rows)
        return x + self._dropped(self.feed_forward(x), path, rows)

    def _dropped(self, y: Tensor, path: float, rows: Rows) -> Tensor:
        y = dropped(y, self.dropout, self.training, rows)
        if path > 0 and self.training:
            y = drop_path(y[..., None], path, rows)[..., 0]
        return y
