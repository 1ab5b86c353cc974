"""The layers of a transformer block, each with the layer norm in front of it.

A block adds ``mixer(norm(x))`` to its input ``x``, and then adds a feed-forward layer in the same
way. The last linear map of a layer has no bias, so the output of this map is linear in its input
and in its weights. The supernet relies on this linearity to compute the weighted sum of several
candidates at once.

Attention does not use PyTorch's fused kernels, because they have no second derivative, which
``bilevel.hvp=exact`` needs.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.
    Layer norm first: Xiong et al., "On Layer Normalization in the Transformer Architecture",
    arXiv:2002.04745.
    Depthwise convolutions instead of attention: Wu et al., "Pay Less Attention with Lightweight and
    Dynamic Convolutions", arXiv:1901.10430.
    LSTM with a forget gate: Gers, Schmidhuber and Cummins, "Learning to Forget: Continual
    Prediction with LSTM", Neural Computation 12(10), 2000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.rank_dropout import drop_path, rank_dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class AttentionMask(NamedTuple):
    """Which positions of a batch of texts attention must not read."""

    blocked: Tensor  # True where it must not; broadcasts to (B, heads, T, T), queries before keys
    tokens: Tensor | None  # (B, T, 1), True at tokens and False at padding; None without padding


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape ``(B, T, D)`` -> ``(B, heads, T, D / heads)``."""
    return torch.unflatten(x, 2, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Reshape ``(B, heads, T, D / heads)`` -> ``(B, T, D)``."""
    return x.transpose(1, 2).flatten(2)


def attention_scores(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Return the unscaled products of queries and keys of each head, ``(B, heads, T, T)``."""
    return split_heads(queries, heads) @ split_heads(keys, heads).transpose(2, 3)


def attention_weights(scores: Tensor, size: int, mask: AttentionMask | None) -> Tensor:
    """Return the attention weights of unscaled scores ``(B, heads, T, T)``; heads have ``size``."""
    scores = scores / math.sqrt(size)
    if mask is not None:
        # Not minus infinity, because the softmax of an empty text would be NaN.
        scores = scores.masked_fill(mask.blocked, torch.finfo(scores.dtype).min)
    return scores.softmax(3)


def convolve(x: Tensor, kernel: Tensor, causal: bool, mask: AttentionMask | None) -> Tensor:
    """Apply a depthwise convolution along the text, ``(B, T, D)`` -> ``(B, T, D)``.

    Padding and the positions before and after the text count as zeros. The kernel is
    ``(D, taps)``; its last tap (if causal) or its middle tap is at the output position.
    """
    if mask is not None and mask.tokens is not None:
        x = x * mask.tokens
    width, taps = kernel.shape
    before = taps - 1 if causal else taps // 2
    padded = F.pad(x.transpose(1, 2), (before, taps - 1 - before))  # (B, D, T + taps - 1)
    return F.conv1d(padded, kernel[:, None], groups=width).transpose(1, 2)


def make_kernel(width: int, taps: int) -> nn.Parameter:
    bound = 1 / math.sqrt(taps)
    return nn.Parameter(torch.empty(width, taps).uniform_(-bound, bound))


class Attention(nn.Module):
    """Multi-head self-attention, ``(B, T, D)`` -> ``(B, T, D)``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def forward(self, x: Tensor, mask: AttentionMask | None = None) -> Tensor:
        queries, keys, values = self.project(self.norm(x)).chunk(3, dim=2)
        scores = attention_scores(queries, keys, self.heads)
        weights = attention_weights(scores, x.shape[2] // self.heads, mask)
        y: Tensor = self.out(join_heads(weights @ split_heads(values, self.heads)))
        return y


class Convolution(nn.Module):
    """A depthwise convolution along the text, ``(B, T, D)`` -> ``(B, T, D)``; see ``convolve``."""

    def __init__(self, width: int, taps: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.norm = nn.LayerNorm(width)
        self.kernel = make_kernel(width, taps)

    def extra_repr(self) -> str:
        return f"taps={self.kernel.shape[1]}, causal={self.causal}"

    def forward(self, x: Tensor, mask: AttentionMask | None = None) -> Tensor:
        return convolve(self.norm(x), self.kernel, self.causal, mask)


class Lstm(nn.Module):
    """An LSTM that reads the text from its first word to its last word, also in a classifier.

    Padding is at the end of a text, so it has no effect on the outputs at the words. The size of
    the hidden state is the model width, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the output ``(B, T, D)`` and the state after the last word, ``(B, 2D)``.

        The state consists of hidden state and cell state; None stands for zeros.
        """
        if torch.is_autocast_enabled("cpu"):  # many processors have no LSTM kernel for bfloat16
            with torch.autocast("cpu", enabled=False):
                return self.forward(x, state)
        x = self.norm(x.to(self.norm.weight.dtype))
        if state is None:
            state = x.new_zeros(x.shape[0], 2 * x.shape[2])
        hidden, cell = state.to(x.dtype).chunk(2, dim=1)
        if not isinstance(x.shape[1], int):  # an export traces the length as a dynamic axis
            y, hidden, cell = self._scan(x, hidden, cell)
            return y, torch.cat([hidden, cell], dim=1)
        before = hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous()
        y, (hidden, cell) = self.lstm(x, before)
        return y, torch.cat([hidden.squeeze(0), cell.squeeze(0)], dim=1)

    def _scan(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the LSTM step by step, with a loop that an exported graph can express.

        An export of the fused kernels would fix the length of a text.
        """
        from torch._higher_order_ops.scan import scan

        input_weight, hidden_weight, *biases = self.lstm.all_weights[0]
        inputs = F.linear(x, input_weight, biases[0] + biases[1]).transpose(0, 1)  # (T, B, 4D)

        def step(
            state: tuple[Tensor, Tensor], inputs: Tensor
        ) -> tuple[tuple[Tensor, Tensor], Tensor]:
            hidden, cell = state
            gates = (inputs + hidden @ hidden_weight.t()).chunk(4, dim=1)
            keep, write, read = (torch.sigmoid(gates[i]) for i in (1, 0, 3))
            cell = keep * cell + write * torch.tanh(gates[2])
            hidden = read * torch.tanh(cell)
            return (hidden, cell), hidden.clone()

        (hidden, cell), y = scan(step, (hidden.clone(), cell.clone()), inputs, dim=0)
        return y.transpose(0, 1), hidden, cell


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, ``(B, T, D)`` -> ``(B, T, D)``."""

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
    if name == "identity":
        return nn.Identity()
    if name == "lstm":
        return Lstm(width)
    operation, number = name.split("_")
    if operation == "attention":
        return Attention(width, int(number))
    return Convolution(width, int(number), causal)


def make_feed_forward(name: str, width: int) -> nn.Module:
    if name == "identity":
        return nn.Identity()
    activation, ratio = name.split("_")
    return FeedForward(width, int(ratio), activation)


class Block(nn.Module):
    """A mixer and a feed-forward layer, each with a residual connection unless it is an LSTM.

    The states of an LSTM are below 1 and carry the past themselves. Added to an embedding, they
    would hardly change it, and a language model whose decoder is the embedding would predict the
    word that it has just read.

    Shape: ``(B, T, D)`` and the state of an LSTM, ``(B, 2D)`` -> ``(B, T, D)`` and the next state.
    """

    def __init__(
        self, mixer: str, feed_forward: str, width: int, *, causal: bool, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.mixer = make_mixer(mixer, width, causal)
        self.feed_forward = make_feed_forward(feed_forward, width)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        state: Tensor | None = None,
        drop_probability: float = 0.0,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the block's output and next state, which is None without an LSTM.

        In training, the whole output of a layer is dropped for a text with a given probability,
        independently for each layer and text, except the output of an LSTM.
        """
        after = None
        if isinstance(self.mixer, Lstm):
            y, after = self.mixer(x, state)
            x = rank_dropout(self, y, self.dropout)
        elif not isinstance(self.mixer, nn.Identity):
            x = x + self._drop(self.mixer(x, mask), drop_probability)
        if not isinstance(self.feed_forward, nn.Identity):
            x = x + self._drop(self.feed_forward(x), drop_probability)
        return x, after

    def _drop(self, y: Tensor, probability: float) -> Tensor:
        return drop_path(self, rank_dropout(self, y, self.dropout), probability)
