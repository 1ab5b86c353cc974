"""Genotypes of the transformer space: the mixer and feed-forward layer of each block.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3: blocks of a layer that
    mixes positions and a layer that processes each position.
    So, Liang and Le, "The Evolved Transformer", arXiv:1901.11117: a search that chooses between
    convolutions and attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import check_name, entries_of, short_repr

# Heads of attention, words that a convolution reads, and ratios of the hidden width of a
# feed-forward layer to the model width.
HEADS, TAPS, RATIOS = (2, 4, 8), (3, 7, 15), (1, 2, 4)

# Layers that mix the words of a text, in the order of the alphas' columns, such as `attention_8`
# and `conv_3`, a depthwise convolution.
MIXERS = (*(f"attention_{n}" for n in HEADS), *(f"conv_{n}" for n in TAPS), "identity")

# Layers that process each word, in the order of the alphas' columns: activation and ratio.
FEED_FORWARDS = tuple(f"{name}_{ratio}" for name in ("relu", "gelu") for ratio in RATIOS)

# Mixers of genotypes that are not candidates of the supernet: an LSTM, as a baseline. It has no
# alphas, because a weighted sum with other mixers shares no work, and because fused LSTM kernels
# have no second derivative.
NETWORK_MIXERS: tuple[str, ...] = ("lstm",)

# Feed-forward layers of genotypes that are not candidates of the supernet: none.
NETWORK_FEED_FORWARDS: tuple[str, ...] = ("identity",)

# The only block of a network without layers.
NO_LAYERS = ("identity", "identity")


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The blocks of a transformer.

    State 0 is the output of the embedding. Each block is two consecutive operations, a mixer and a
    feed-forward layer.
    """

    blocks: tuple[tuple[str, str], ...]

    space: ClassVar[str] = "transformer"
    cells: ClassVar[tuple[str, ...]] = ("blocks",)
    vocabulary: ClassVar[tuple[str, ...]] = MIXERS + FEED_FORWARDS + NETWORK_MIXERS

    def __post_init__(self) -> None:
        blocks = entries_of("blocks", self.blocks)
        for number, pair in enumerate(blocks):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise ValueError(
                    f"block {number} is {short_repr(pair)}, not a pair of mixer and feed-forward "
                    "layer"
                )
            names = MIXERS + NETWORK_MIXERS, FEED_FORWARDS + NETWORK_FEED_FORWARDS
            check_name(f"block {number}: unknown mixer", pair[0], names[0])
            check_name(f"block {number}: unknown feed-forward layer", pair[1], names[1])
            if tuple(pair) == NO_LAYERS and len(blocks) > 1:
                raise ValueError(f"block {number} has neither a mixer nor a feed-forward layer")
        object.__setattr__(self, "blocks", tuple(tuple(pair) for pair in blocks))

    @property
    def needs_positions(self) -> bool:
        """Whether the network needs a positional encoding.

        It needs none if all its mixers, without ``identity``, are LSTMs, or if it has no layers.
        """
        return self.has_layers and {mixer for mixer, _ in self.blocks} - {"identity"} != {"lstm"}

    @property
    def has_layers(self) -> bool:
        """Whether the network has layers between the embedding and the output layer.

        A text classifier without layers is a bag of words: it ignores the order of the words.
        """
        return self.blocks != (NO_LAYERS,)

    @property
    def operations(self) -> tuple[str, ...]:
        return tuple(name for pair in self.blocks for name in pair)

    @property
    def json_lines(self) -> Sequence[Sequence[object]]:
        return [[pair] for pair in self.blocks]
