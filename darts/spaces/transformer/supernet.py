"""The supernets of the transformer space: blocks of all mixers and all feed-forward layers.

A block adds to its input the weighted sum of what its mixers make of it, and then the same of its
feed-forward layers. The identity adds nothing. Candidates share what they can, and the work is done
once (``darts.spaces.transformer.edgewise`` computes the same one candidate after the other):

* The norm in front of a layer is that of all its candidates.
* Numbers of heads share their projections; they differ in how these are shared out. A head of four
  is two of eight side by side, so that its products of queries and keys are sums of theirs; and
  since values and the last map are the same, attention of all kinds is one by mixed weights.
* Convolutions have weights of their own. The weighted sum of three is one convolution, by the
  weighted sum of their kernels.
* Narrower feed-forward layers are the first units of the widest, and both activations share them,
  so that an activation counts at each unit with the weights of all layers that have it.

References:
    Weights of smaller choices as a part of those of larger ones: Chen et al., "AutoFormer",
    arXiv:2107.00651 (weight entanglement).
    Weighted sums of convolutions as one: Yang et al., "CondConv", arXiv:1904.04971, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.recompute import recompute
from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.mixture import Mixture, as_mixture
from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.supernet import SupernetBase
from darts.spaces.transformer.frame import ClassifierFrame, Frame, LanguageFrame, ModelConfig
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS
from darts.spaces.transformer.layers import (
    ACTIVATIONS,
    HEADS,
    RATIOS,
    TAPS,
    AttentionMask,
    attention_weights,
    convolve,
    dropped,
    join_heads,
    make_kernel,
    products_of,
    split_heads,
)

GROUPS: dict[str, tuple[str, ...]] = {"mixer": MIXERS, "feed_forward": FEED_FORWARDS}
"""The candidates of a block, by group of alphas."""

Chosen = Mapping[str, Tensor]
"""By name, the weights ``()`` of the candidates to run."""


class MixedBlock(nn.Module):
    """All candidates of one block.

    Args:
        width: numbers of a word, D.
        causal: whether words see none behind them.
        dropout: probability with which a number of what is added is dropped in training.

    Attributes:
        project: queries, keys and values of attention with any number of heads.
        kernels: of the convolutions, ``(D, taps)``.
        up: into the widest feed-forward layer; ``down`` out of it.

    Shape: ``(B, T, D)`` -> the same.
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

    def forward(self, x: Tensor, sight: AttentionMask, mixers: Chosen, layers: Chosen) -> Tensor:
        """The block's output; only what is chosen is run.

        Args:
            x: ``(B, T, D)``.
            sight: what may be looked at.
            mixers: of ``MIXERS``.
            layers: of ``FEED_FORWARDS``.
        """
        attention = {n: mixers[f"attention_{n}"] for n in HEADS if f"attention_{n}" in mixers}
        kernels = {n: mixers[f"conv_{n}"] for n in TAPS if f"conv_{n}" in mixers}
        if attention or kernels:
            y = self.mixer_norm(x)
            terms = [self.attend(y, sight, attention)] if attention else []
            terms += [self.convolve(y, sight, kernels)] if kernels else []
            x = x + dropped(reduce(torch.add, terms), self.dropout, self.training)
        if layers:
            y = self.feed_forward_sum(self.feed_norm(x), layers)
            x = x + dropped(y, self.dropout, self.training)
        return x

    def attend(self, y: Tensor, sight: AttentionMask, chosen: Mapping[int, Tensor]) -> Tensor:
        """The weighted sum of attention with several numbers of heads, ``(B, T, D)``."""
        finest = max(chosen)
        queries, keys, values = self.project(y).chunk(3, dim=2)
        products = products_of(queries, keys, finest)
        terms = []
        for heads, weight in chosen.items():
            together = finest // heads
            own = products.unflatten(1, (heads, together)).sum(2)  # (B, heads, T, T)
            mixed = weight * attention_weights(own, self.width // heads, sight)
            terms.append(mixed[:, :, None].expand(-1, -1, together, -1, -1).flatten(1, 2))
        seen = reduce(torch.add, terms) @ split_heads(values, finest)
        found: Tensor = self.out(join_heads(seen))
        return found

    def convolve(self, y: Tensor, sight: AttentionMask, chosen: Mapping[int, Tensor]) -> Tensor:
        """The weighted sum of several convolutions, ``(B, T, D)``."""
        widest = max(chosen)
        terms = []
        for kernel, taps in zip(self.kernels, TAPS, strict=True):
            if taps in chosen:
                more = widest - taps
                sides = (more, 0) if self.causal else (more // 2, more // 2)
                terms.append(chosen[taps] * F.pad(kernel, sides))
        return convolve(y, reduce(torch.add, terms), self.causal, sight)

    def feed_forward_sum(self, y: Tensor, chosen: Chosen) -> Tensor:
        """The weighted sum of several feed-forward layers, ``(B, T, D)``."""
        ratios = [ratio for ratio in RATIOS if any(n.endswith(f"_{ratio}") for n in chosen)]
        units = max(ratios) * self.width
        inside = F.linear(y, self.up.weight[:units], self.up.bias[:units])
        terms = []
        for activation, function in ACTIVATIONS.items():
            names = {ratio: f"{activation}_{ratio}" for ratio in ratios}
            shares = [
                F.pad(chosen[name].expand(ratio * self.width), (0, units - ratio * self.width))
                for ratio, name in names.items()
                if name in chosen
            ]  # each (units,)
            if shares:
                terms.append(function(inside) * reduce(torch.add, shares))
        return F.linear(reduce(torch.add, terms), self.down.weight[:, :units])


class MixedStack(SupernetBase):
    """Blocks of all candidates in a frame.

    The alphas are parameters, so they are in the state dict, but ``weight_parameters`` leaves them
    out.

    Args:
        frame: what stands around the blocks.
        cells: number of blocks.
        size: of the network.

    Attributes:
        alphas: ``{"mixer": (cells, 7), "feed_forward": (cells, 6)}``.
        candidates: by group, the names of the alphas' columns, block by block.
        edges: by group, each layer's place in the chain, in which mixers and feed-forward layers
            alternate.
        counts: by group 1: no two blocks share alphas.
        shapes: of the mixing weights, by group.

    Raises:
        ValueError: for a size that is not positive.
    """

    space = "transformer"
    block_class = MixedBlock
    frame: Frame

    def __init__(self, frame: Frame, cells: int, size: ModelConfig) -> None:
        super().__init__()
        check_positive(cells=cells)
        self.candidates = {group: (names,) * cells for group, names in GROUPS.items()}
        self.edges = {
            group: tuple((2 * i + offset, 2 * i + offset + 1) for i in range(cells))
            for offset, group in enumerate(GROUPS)
        }
        self.counts = dict.fromkeys(GROUPS, 1)
        self.shapes = {group: (cells, len(names)) for group, names in GROUPS.items()}
        self.recomputes = False
        self.frame = frame
        self.blocks = nn.ModuleList(
            self.block_class(size.width, causal=frame.causal, dropout=size.dropout)
            for _ in range(cells)
        )
        # Small random values break ties without preferring anything.
        self.alphas = nn.ParameterDict(
            {group: nn.Parameter(1e-3 * torch.randn(shape)) for group, shape in self.shapes.items()}
        )

    def recompute_cells(self) -> None:
        """Keep only what passes between blocks, and compute the rest again to go backward."""
        self.recomputes = True

    def run(self, tokens: Tensor, sight: AttentionMask, weights: Mapping[str, Tensor] | None) -> Tensor:
        """What the last block puts out, ``(B, T, D)``.

        Args:
            tokens: ``(T, B)``.
            sight: what may be looked at.
            weights: mixing weights by group, ``(cells, candidates)``; a ``Mixture`` may say which
                of them are active. When not given, the softmax of the supernet's own alphas.
        """
        if weights is None:
            weights = {group: self.alphas[group].softmax(-1) for group in self.shapes}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        draws = self.training and self.frame.dropout > 0
        x = self.frame.embed(tokens)
        chosen = [_chosen(mixture, group) for group in GROUPS]
        for block, mixers, layers in zip(self.blocks, *chosen, strict=True):
            run: Any = partial(recompute, block, random=draws) if self.recomputes else block
            x = run(x, sight, mixers, layers)
        return x


def _chosen(mixture: Mixture, group: str) -> list[dict[str, Tensor]]:
    """Block by block, the weights ``()`` of a group's candidates that are active, by name."""
    weights, _, active = mixture.of_cell(group, 0)
    names = GROUPS[group]
    columns = active or (tuple(range(len(names))),) * len(weights)
    return [
        {names[column]: row[column] for column in own}
        for row, own in zip(map(torch.unbind, weights), columns, strict=True)
    ]


class Supernet(MixedStack):
    """The supernet as a language model.

    Args:
        vocabulary: number of tokens, V.
        cells: number of blocks.
        size: of the network.

    Shape: tokens ``(T, B)`` -> ``LanguageModelOutput``.
    """

    frame: LanguageFrame

    def __init__(self, vocabulary: int, *, cells: int = 4, size: ModelConfig | None = None) -> None:
        size = size or ModelConfig()
        super().__init__(LanguageFrame(vocabulary, size), cells, size)

    def forward(
        self,
        tokens: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        hidden: Tensor | None = None,
    ) -> LanguageModelOutput:
        """Say what follows.

        Args:
            tokens: ``(T, B)``, int64.
            weights: see ``MixedStack.run``.
            hidden: of no account, since nothing is carried from one sequence to the next.
        """
        x = self.run(tokens, self.frame.sight(tokens), weights)
        return self.frame.say(x)


class ClassifierSupernet(MixedStack):
    """The supernet as a classifier of texts.

    Args:
        classes: number of classes, C.
        words: how many there are, V.
        cells: number of blocks.
        size: of the network.

    Shape: tokens ``(L, B)``, with ``PADDING`` behind the end of a text -> logits ``(B, C)``.
    """

    frame: ClassifierFrame

    def __init__(
        self, *, classes: int, words: int, cells: int = 4, size: ModelConfig | None = None
    ) -> None:
        size = size or ModelConfig()
        super().__init__(ClassifierFrame(words, size, classes), cells, size)

    def forward(self, tokens: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            tokens: ``(L, B)``, int64.
            weights: see ``MixedStack.run``.
        """
        sight = self.frame.sight(tokens)
        return self.frame.classify(self.run(tokens, sight, weights), sight)
