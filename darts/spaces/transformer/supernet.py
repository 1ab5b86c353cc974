"""The supernet of the transformer space: blocks of all mixers and all feed-forward layers.

A block adds the weighted sum of its mixers to its input, and then the weighted sum of its
feed-forward layers. The mixer ``identity`` adds nothing. Candidates share weights, and the supernet
computes their common work once:

* All candidates of a layer share the layer norm in front of it.
* Attention candidates share their projections and differ only in how these are split into heads. A
  head of ``attention_4`` is the concatenation of two heads of ``attention_8``, so its unscaled
  scores are the sums of theirs. Values and output map are shared, so the attention weights of all
  candidates are mixed first and applied to the values once.
* Each convolution has its own kernel. The weighted sum of three convolutions is one convolution
  with the weighted sum of their kernels.
* A narrow feed-forward layer consists of the first units of the widest one, for both activations.
  The weight of an activation at a unit is the sum of the weights of all candidates that have this
  activation and this unit.

References:
    Weight entanglement: Chen et al., "AutoFormer", arXiv:2107.00651.
    Weighted sum of convolutions as one convolution: Yang et al., "CondConv", arXiv:1904.04971,
    section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.deriving import ByGroup
from darts.spaces.network import LanguageModelOutput
from darts.spaces.rank_dropout import rank_dropout
from darts.spaces.supernet import SupernetBase
from darts.spaces.transformer.frame import Frame, ModelConfig
from darts.spaces.transformer.genotype import FEED_FORWARDS, HEADS, MIXERS, RATIOS, TAPS
from darts.spaces.transformer.layers import (
    ACTIVATIONS,
    AttentionMask,
    attention_scores,
    attention_weights,
    convolve,
    join_heads,
    make_kernel,
    split_heads,
)

# By group of alphas, the candidates of a block.
GROUPS: dict[str, tuple[str, ...]] = {"mixer": MIXERS, "feed_forward": FEED_FORWARDS}

# By name of each active candidate, its mixing weight, a scalar tensor.
CandidateWeights = Mapping[str, Tensor]


class MixedBlock(nn.Module):
    """All candidates of one block.

    Shape: ``(B, T, D)`` -> ``(B, T, D)``.
    """

    def __init__(self, width: int, *, causal: bool, dropout: float) -> None:
        super().__init__()
        self.width, self.causal, self.dropout = width, causal, dropout
        self.mixer_norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.kernels = nn.ParameterList(make_kernel(width, taps) for taps in TAPS)
        self.feed_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, max(RATIOS) * width)
        self.down = nn.Linear(max(RATIOS) * width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        mixers: CandidateWeights,
        feed_forwards: CandidateWeights,
    ) -> Tensor:
        attention = {n: mixers[f"attention_{n}"] for n in HEADS if f"attention_{n}" in mixers}
        kernels = {n: mixers[f"conv_{n}"] for n in TAPS if f"conv_{n}" in mixers}
        if attention or kernels:
            y = self.mixer_norm(x)
            terms = [self.mix_attention(y, mask, attention)] if attention else []
            terms += [self.mix_convolutions(y, mask, kernels)] if kernels else []
            x = x + rank_dropout(self, reduce(torch.add, terms), self.dropout)
        if feed_forwards:
            y = self.mix_feed_forwards(self.feed_norm(x), feed_forwards)
            x = x + rank_dropout(self, y, self.dropout)
        return x

    def mix_attention(
        self, y: Tensor, mask: AttentionMask, weights: Mapping[int, Tensor]
    ) -> Tensor:
        """Return the weighted sum of attention candidates; ``weights`` has numbers of heads."""
        max_heads = max(weights)
        queries, keys, values = self.project(y).chunk(3, dim=2)
        all_scores = attention_scores(queries, keys, max_heads)
        terms = []
        for heads, weight in weights.items():
            merged = max_heads // heads
            scores = torch.unflatten(all_scores, 1, (heads, merged)).sum(2)  # (B, heads, T, T)
            mixed = weight * attention_weights(scores, self.width // heads, mask)
            terms.append(mixed[:, :, None].expand(-1, -1, merged, -1, -1).flatten(1, 2))
        attended = reduce(torch.add, terms) @ split_heads(values, max_heads)
        output: Tensor = self.out(join_heads(attended))
        return output

    def mix_convolutions(
        self, y: Tensor, mask: AttentionMask, weights: Mapping[int, Tensor]
    ) -> Tensor:
        """Return the weighted sum of convolutions; ``weights`` has kernel sizes as keys."""
        max_taps = max(weights)
        terms = []
        for kernel, taps in zip(self.kernels, TAPS, strict=True):
            if taps in weights:
                extra = max_taps - taps
                sides = (extra, 0) if self.causal else (extra // 2, extra // 2)
                terms.append(weights[taps] * F.pad(kernel, sides))
        return convolve(y, reduce(torch.add, terms), self.causal, mask)

    def mix_feed_forwards(self, y: Tensor, weights: CandidateWeights) -> Tensor:
        sizes = {name: int(name.split("_")[1]) * self.width for name in weights}
        units = max(sizes.values())
        hidden = F.linear(y, self.up.weight[:units], self.up.bias[:units])
        unit_weights: dict[str, list[Tensor]] = {}  # by activation, tensors (units,)
        for name, size in sizes.items():
            padded = F.pad(weights[name].expand(size), (0, units - size))
            unit_weights.setdefault(name.split("_")[0], []).append(padded)
        terms = [ACTIVATIONS[n](hidden) * reduce(torch.add, w) for n, w in unit_weights.items()]
        return F.linear(reduce(torch.add, terms), self.down.weight[:, :units])


class Supernet(SupernetBase):
    """The supernet as a language model; with ``classes``, as a text classifier.

    Attributes:
        alphas: ``{"mixer": (cells, 7), "feed_forward": (cells, 6)}``.

    Shape: tokens ``(T, B)`` -> ``LanguageModelOutput``, or logits ``(B, classes)``. ``hidden`` is
    ignored, because there is no state between sequences.
    """

    supports_recomputation = True
    block_class: ClassVar[type[MixedBlock]] = MixedBlock

    def __init__(
        self,
        vocab_size: int,
        *,
        classes: int | None = None,
        cells: int = 4,
        config: ModelConfig | None = None,
    ) -> None:
        super().__init__()
        self.frame = frame = Frame(vocab_size, classes, config)
        self.blocks = nn.ModuleList(
            self.block_class(frame.width, causal=frame.causal, dropout=frame.dropout)
            for _ in range(cells)
        )
        self.set_chain([*GROUPS.items()] * cells)

    def forward(
        self, tokens: Tensor, mixture: ByGroup | None = None, hidden: Tensor | None = None
    ) -> LanguageModelOutput | Tensor:
        """Return the output; the mixing weights of each group are ``(cells, candidates)``."""
        mask = self.frame.attention_mask(tokens)
        chain = [
            _by_name(GROUPS[group], *weights)
            for group, weights in zip(self.chain, self.chain_weights(mixture), strict=True)
        ]
        x = self.frame.embed(tokens)
        for block, mixers, feed_forwards in zip(self.blocks, chain[::2], chain[1::2], strict=True):
            x = self.run(block, x, mask, mixers, feed_forwards)
        return self.frame.finish(x, mask, x.new_zeros(x.shape[0], 0))


def _by_name(names: Sequence[str], weights: Tensor, active: Sequence[int]) -> CandidateWeights:
    scalars = weights.unbind()
    return {names[column]: scalars[column] for column in active}
