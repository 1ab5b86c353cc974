"""What stands around the blocks of a transformer: words and places before, what it says behind.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, sections 3.4 and 3.5: embeddings
    times the root of their length, sines for the places.
    Sharing the weights of embeddings and decoder: Press and Wolf, "Using the Output Embedding to
    Improve Language Models", arXiv:1608.05859.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.words import PADDING
from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.transformer.layers import HEADS, Rows, AttentionMask, dropped

POSITIONS = ("sinusoidal", "learned")


@dataclass(frozen=True)
class ModelConfig:
    """What all networks of the space have to know beside their data.

    Attributes:
        width: numbers of a word between the blocks, D, which all numbers of heads divide.
        positions: of ``POSITIONS``: how a word's place is told.
        max_length: words of the max_length text, where places are learned.
        dropout: probability with which, in training, a number of the embeddings, of what a layer
            adds and of the outputs is dropped.

    Raises:
        ValueError: for a width that heads do not divide, a size that is not positive, an unknown
            way to tell places or a probability outside [0, 1).
    """

    width: int = 128
    positions: str = POSITIONS[0]
    max_length: int = 512
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_positive(width=self.width, max_length=self.max_length)
        check_heads(self.width)
        if self.positions not in POSITIONS:
            raise ValueError(
                f"unknown positions {self.positions!r}; choose from {', '.join(POSITIONS)}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout!r}")


def check_heads(width: int) -> None:
    """Raise ValueError, in one line, for a width that heads do not divide."""
    if width % max(HEADS):
        raise ValueError(
            f"space.hidden={width} cannot be shared out among {max(HEADS)} heads; choose a "
            f"multiple of {max(HEADS)}"
        )


def sinusoidal_table(length: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sines and cosines of places 0, 1, ..., ``(length, width)``: waves of 2 pi to 20000 pi."""
    if torch.compiler.is_compiling():  # an export is traced with texts of any length
        return _sinusoids(length, width, dtype, device)
    return _kept(length, width, dtype, device)


def _sinusoids(length: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    places = torch.arange(length, dtype=torch.float64)[:, None]
    waves = torch.arange(0, width, 2, dtype=torch.float64) / width
    angles = places * torch.exp(-math.log(10_000.0) * waves)  # (length, width / 2)
    table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
    return table.to(dtype).to(device)  # rounded first: not every device has float64


_kept = lru_cache(maxsize=16)(_sinusoids)  # a search reads texts of few lengths again and again


class PositionalEncoding(nn.Module):
    """Adds to each word what tells its place.

    Args:
        size: of the networks.

    Shape: ``(B, T, D)`` -> the same.

    Raises:
        ValueError: in ``forward``, for a text longer than the places that are learned.
    """

    def __init__(self, size: ModelConfig) -> None:
        super().__init__()
        self.max_length = size.max_length
        self.table: nn.Parameter | None = None
        if size.positions == "learned":
            self.table = nn.Parameter(torch.empty(size.max_length, size.width).normal_())

    def forward(self, x: Tensor) -> Tensor:
        length, width = x.shape[1:]
        if self.table is None:
            return x + sinusoidal_table(length, width, x.dtype, x.device)
        if length > self.max_length:
            raise ValueError(
                f"space.max_length={self.max_length} places are learned, and a text has {length} words; "
                "choose a larger one, or space.positions=sinusoidal"
            )
        return x + self.table[:length]


class Embedding(nn.Module):
    """Words as vectors.

    Args:
        words: how many there are, V.
        width: numbers of a vector, D.

    Shape: ``(B, T)`` -> ``(B, T, D)``.
    """

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(words, width).normal_(std=width**-0.5))

    def extra_repr(self) -> str:
        return f"{tuple(self.table.shape)}"

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens.long(), self.table) * math.sqrt(self.table.shape[1])


class Frame(nn.Module):
    """The way into the blocks, and the norm behind them.

    Args:
        words: how many there are, V.
        size: of the networks.

    Attributes:
        causal: whether words see none behind them.
    """

    causal: ClassVar[bool]

    def __init__(self, words: int, size: ModelConfig) -> None:
        super().__init__()
        check_positive(words=words)
        self.dropout = size.dropout
        self.embedding = Embedding(words, size.width)
        self.places = PositionalEncoding(size)
        self.norm = nn.LayerNorm(size.width)

    def embed(self, tokens: Tensor, rows: Rows = None) -> Tensor:
        """Tokens ``(T, B)`` as ``(B, T, D)``.

        Args:
            tokens: the words' numbers.
            rows: of the draws.

        Raises:
            ValueError: for tokens of another shape, or a text that is too long.
        """
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be (T, B), got {tuple(tokens.shape)}")
        x = self.places(self.embedding(tokens.t()))
        return dropped(x, self.dropout, self.training, rows)


class LanguageFrame(Frame):
    """A language model: each word sees those before it and itself, and the next one is said."""

    causal = True

    def __init__(self, words: int, size: ModelConfig) -> None:
        super().__init__(words, size)
        self.bias = nn.Parameter(torch.zeros(words))

    @staticmethod
    def sight(tokens: Tensor) -> AttentionMask:
        """Nothing behind a word is seen; tokens ``(T, B)``."""
        length = len(tokens)
        ones = torch.ones(length, length, dtype=torch.bool, device=tokens.device)
        return AttentionMask(ones.triu(1), None)

    def say(self, x: Tensor, rows: Rows = None) -> LanguageModelOutput:
        """What follows each word, by what the blocks put out, ``(B, T, D)``."""
        raw = self.norm(x)
        behind = dropped(raw, self.dropout, self.training, rows)
        raw, behind = raw.transpose(0, 1), behind.transpose(0, 1)  # (T, B, D)
        logits = F.linear(behind, self.embedding.table, self.bias)
        return LanguageModelOutput(logits, raw.new_zeros(raw.shape[1], 0), raw, behind)


class ClassifierFrame(Frame):
    """A classifier of texts: each word sees all others, and the mean over the words is judged."""

    causal = False

    def __init__(self, words: int, size: ModelConfig, classes: int) -> None:
        super().__init__(words, size)
        check_positive(classes=classes)
        self.classifier = nn.Linear(size.width, classes)

    @staticmethod
    def sight(tokens: Tensor) -> AttentionMask:
        """No padding is seen; tokens ``(L, B)``."""
        words = tokens.t() != PADDING  # (B, L)
        return AttentionMask(~words[:, None, None], words[..., None])

    def classify(self, x: Tensor, sight: AttentionMask, rows: Rows = None) -> Tensor:
        """Logits ``(B, C)`` by what the blocks put out, ``(B, L, D)``."""
        there = sight.words
        assert there is not None
        counts = there.sum(1).clamp_min(1)  # (B, 1); a text may be empty
        means = (self.norm(x) * there).sum(1) / counts
        behind = dropped(means, self.dropout, self.training, rows)
        logits: Tensor = self.classifier(behind)
        return logits
