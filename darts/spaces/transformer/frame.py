"""The layers before and after the blocks: embeddings, positions, and the output layer.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, sections 3.4 and 3.5: embeddings
    scaled by the square root of their width, sinusoidal positional encoding.
    Weight tying: Press and Wolf, "Using the Output Embedding to Improve Language Models",
    arXiv:1608.05859.
    Classifiers without layers: Joulin et al., "Bag of Tricks for Efficient Text Classification",
    arXiv:1607.01759, section 2.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.words import PADDING
from darts.ops.transfer import to_device
from darts.spaces.network import LanguageModelOutput
from darts.spaces.rank_dropout import rank_dropout
from darts.spaces.transformer.layers import AttentionMask

POSITIONS = ("sinusoidal", "learned")


@dataclass(frozen=True)
class ModelConfig:
    """Settings of the supernets and networks of the space; see ``Transformer``."""

    width: int = 128  # model width, D
    positions: str = POSITIONS[0]
    max_length: int = 512  # number of learned positions
    dropout: float = 0.0


def sinusoidal_table(length: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return sines and cosines of the positions, ``(length, width)``, for an even width.

    The wavelengths range from 2 pi to 20,000 pi.
    """
    if torch.compiler.is_compiling():  # no cache: an export traces the length as a dynamic axis
        return _sinusoidal_table(length, width, dtype, device)
    return _cached_sinusoidal_table(length, width, dtype, device)


def _sinusoidal_table(length: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    positions = torch.arange(length, dtype=torch.float64)[:, None]
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    angles = positions * torch.exp(-math.log(10_000.0) * exponents)  # (length, width / 2)
    table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
    return to_device(table.to(dtype), device)  # dtype first, because some devices have no float64


# The batches of a search have only a few different lengths.
_cached_sinusoidal_table = lru_cache(maxsize=16)(_sinusoidal_table)


class PositionalEncoding(nn.Module):
    """Adds the positional encoding to embeddings, ``(B, T, D)`` -> ``(B, T, D)``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.table: nn.Parameter | None = None
        if config.positions == "learned":
            self.table = nn.Parameter(torch.empty(config.max_length, config.width).normal_())

    def forward(self, x: Tensor) -> Tensor:
        length, width = x.shape[1:]
        if self.table is None:
            return x + sinusoidal_table(length, width, x.dtype, x.device)
        if length > self.max_length:
            raise ValueError(
                f"space.max_length={self.max_length}: a text has {length} words; increase it, or "
                "set space.positions=sinusoidal"
            )
        return x + self.table[:length]


class Embedding(nn.Module):
    """Token embedding, times the square root of its width; ``(B, T)`` -> ``(B, T, D)``.

    The initial embeddings have the standard deviation ``scale``.
    """

    def __init__(self, vocab_size: int, width: int, scale: float = 1.0) -> None:
        super().__init__()
        std = scale * width**-0.5
        self.table = nn.Parameter(torch.empty(vocab_size, width).normal_(std=std))

    def extra_repr(self) -> str:
        return f"{tuple(self.table.shape)}"

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens.long(), self.table) * math.sqrt(self.table.shape[1])


class Frame(nn.Module):
    """The layers before and after the blocks of a language model or of a text classifier.

    The decoder of a language model shares the weights of the embedding. A text classifier
    classifies the mean over the tokens of a text, which is padded with ``PADDING`` at the end.

    Args:
        layers: Whether there are layers between the embedding and the output layer. Without them,
            there is no layer norm, so frequent and informative words can differ in weight.
            The initial embeddings are then small, about 1/D, because the network would otherwise
            remember the random embeddings of rare words instead of learning them.

    Attributes:
        causal: Whether a position reads only itself and earlier positions.
    """

    def __init__(
        self,
        vocab_size: int,
        classes: int | None,
        config: ModelConfig | None,
        *,
        positions: bool = True,
        layers: bool = True,
    ) -> None:
        super().__init__()
        config = config or ModelConfig()
        self.width, self.dropout, self.causal = config.width, config.dropout, classes is None
        self.embedding = Embedding(vocab_size, config.width, 1.0 if layers else 1 / config.width)
        self.positional_encoding = PositionalEncoding(config) if positions else nn.Identity()
        self.norm = nn.LayerNorm(config.width) if layers else nn.Identity()
        if classes is None:
            self.bias = nn.Parameter(torch.zeros(vocab_size))
        else:
            self.classifier = nn.Linear(config.width, classes)

    def attention_mask(self, tokens: Tensor) -> AttentionMask:
        if self.causal:
            length = len(tokens)
            ones = torch.ones(length, length, dtype=torch.bool, device=tokens.device)
            return AttentionMask(ones.triu(1), None)
        is_token = tokens.t() != PADDING  # (B, T)
        return AttentionMask(~is_token[:, None, None], is_token[..., None])

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens ``(T, B)`` as ``(B, T, D)``."""
        x: Tensor = self.positional_encoding(self.embedding(tokens.t()))
        return rank_dropout(self, x, self.dropout)

    def finish(
        self, x: Tensor, mask: AttentionMask, hidden: Tensor
    ) -> LanguageModelOutput | Tensor:
        raw: Tensor = self.norm(x)
        if mask.tokens is not None:
            counts = mask.tokens.sum(1).clamp_min(1)  # (B, 1); a text may be empty
            means = (raw * mask.tokens).sum(1) / counts
            logits: Tensor = self.classifier(rank_dropout(self, means, self.dropout))
            return logits
        dropped = rank_dropout(self, raw, self.dropout)
        raw, dropped = raw.transpose(0, 1), dropped.transpose(0, 1)  # (T, B, D)
        logits = F.linear(dropped, self.embedding.table, self.bias)
        return LanguageModelOutput(logits, hidden, raw, dropped)
