"""The transformer space and its discrete networks.

A point has two parameters for each block: the mixer and the feed-forward layer.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; So, Liang and Le, "The Evolved
    Transformer", arXiv:1901.11117; Chen et al., "AutoFormer", arXiv:2107.00651.
    Dropping the output of a layer at random: Huang et al., "Deep Networks with Stochastic Depth",
    arXiv:1603.09382.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import choice, number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import Candidates, allowed, check_subset, subset_masks
from darts.spaces.network import LanguageModelOutput, NetworkBase, NetworkPiece
from darts.spaces.space import SPACES
from darts.spaces.transformer.frame import (
    POSITIONS,
    Embedding,
    Frame,
    ModelConfig,
    PositionalEncoding,
)
from darts.spaces.transformer.genotype import FEED_FORWARDS, HEADS, MIXERS, Genotype
from darts.spaces.transformer.layers import Block, make_feed_forward, make_mixer
from darts.spaces.transformer.supernet import GROUPS, Supernet


class Network(NetworkBase):
    """A transformer language model; with ``classes``, a text classifier.

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``, or logits
    ``(B, classes)``. The state consists of the states of all LSTMs; attention and convolutions have
    no state, so H may be 0.
    """

    genotype: Genotype

    def __init__(
        self,
        genotype: Genotype,
        vocab_size: int,
        *,
        classes: int | None = None,
        config: ModelConfig | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        self.frame = frame = Frame(
            vocab_size,
            classes,
            config,
            positions=genotype.needs_positions,
            layers=genotype.has_layers,
        )
        self.blocks = nn.ModuleList(
            Block(mixer, feed_forward, frame.width, causal=frame.causal, dropout=frame.dropout)
            for mixer, feed_forward in genotype.blocks
        )
        self.state_sizes: list[int] = [2 * frame.width * (m == "lstm") for m, _ in genotype.blocks]

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput | Tensor:
        mask = self.frame.attention_mask(tokens)
        x = self.frame.embed(tokens)
        before: Sequence[Tensor | None] = [None] * len(self.blocks)
        if hidden is not None and any(self.state_sizes):
            before = torch.split(hidden, self.state_sizes, dim=1)
        after = []
        for block, state in zip(self.blocks, before, strict=True):
            x, state = block(x, mask, state, self.drop_path)
            if state is not None:
                after.append(state)
        hidden = torch.cat(after, dim=1) if after else x.new_zeros(x.shape[0], 0)
        return self.frame.finish(x, mask, hidden)


@SPACES.register
@dataclass
class Transformer(ChoiceSpace):
    """Transformer blocks, each with its own mixer and feed-forward layer.

    Attributes:
        cells: Number of blocks of the supernet. A genotype defines its own number.
        hidden: Model width, a multiple of 8.
        positions: Positional encoding; ``sinusoidal`` for texts of any length, or ``learned``.
            Networks whose mixers are all ``lstm`` and networks without layers have none.
        dropout: Dropout rate in training, of the embeddings, of each layer's output and of the
            input of the output layer.
        length: Number of words of the text to which costs refer.
        candidates: Mixers and feed-forward layers to choose from; [] for all of the space.
    """

    name: str = "transformer"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    size_keys: ClassVar[tuple[str, ...]] = ("hidden",)
    skip_operation: ClassVar[str | None] = "identity"
    supports_skip_dropout: ClassVar[bool] = False
    data_kinds: ClassVar[tuple[str, ...]] = ("text", "documents")
    skip_operations: ClassVar[tuple[str, ...]] = ("identity",)
    weightless_operations: ClassVar[tuple[str, ...]] = ("identity",)
    cells: int = number(4, low=1, high=1000)
    hidden: int = number(128, low=1)
    positions: str = choice(POSITIONS[0], *POSITIONS)
    max_length: int = number(512, low=1)
    dropout: float = number(0.1, low=0, below=1)
    length: int = number(64, low=1)
    candidates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.hidden % max(HEADS):
            raise ValueError(f"space.hidden={self.hidden}: must be a multiple of {max(HEADS)}")
        choices = {"the mixers": MIXERS, "the feed-forward layers": FEED_FORWARDS}
        check_subset(self.candidates, choices)

    def model_config(self) -> ModelConfig:
        return ModelConfig(self.hidden, self.positions, self.max_length, self.dropout)

    def supernet(self, **options: Any) -> Supernet:
        sizes = self.supported(options, depth=1, partial=1, auxiliary_skip=0)
        return Supernet(**sizes, cells=self.cells, config=self.model_config())

    def network(self, genotype: Genotype, **options: Any) -> Network:
        options = self.supported(options, auxiliary=0)
        return Network(genotype, **options, config=self.model_config())

    @classmethod
    def reference(cls, genotype: Genotype) -> Transformer:
        return cls(cells=len(genotype.blocks))

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        return subset_masks(candidates, self.candidates)

    def choices(self) -> dict[str, tuple[str, ...]]:
        return {
            f"block{block}.{group}": allowed(names, self.candidates)
            for block in range(self.cells)
            for group, names in GROUPS.items()
        }

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return Genotype(tuple(zip(operations[::2], operations[1::2], strict=True)))

    def rows(self, candidates: Candidates) -> list[tuple[str, int]]:
        return [(group, block) for block in range(self.cells) for group in GROUPS]

    def pieces(self, *, classes: int, sample_shape: Sequence[int] = ()) -> Iterator[NetworkPiece]:
        """Yield all modules, with every candidate, for a text of ``length`` words.

        A language model has no piece for its embedding, because it shares its weights with the
        decoder; its ``classes`` are its vocabulary, and its ``sample_shape`` is ``()``. The shape
        is ``(V,)`` for a classifier of texts with a vocabulary of V words.
        """
        shape = (self.length, self.hidden)
        if sample_shape:
            yield NetworkPiece(partial(Embedding, sample_shape[0], self.hidden), (self.length,))
        yield NetworkPiece(partial(PositionalEncoding, self.model_config()), shape)
        for row in range(self.cells):
            for column, name in enumerate(MIXERS):
                mixer = partial(make_mixer, name, self.hidden, causal=not sample_shape)
                yield NetworkPiece(mixer, shape, ("mixer", row, column))
            for column, name in enumerate(FEED_FORWARDS):
                feed_forward = partial(make_feed_forward, name, self.hidden)
                yield NetworkPiece(feed_forward, shape, ("feed_forward", row, column))
        yield NetworkPiece(partial(nn.LayerNorm, self.hidden), shape)
        last = shape[1:] if sample_shape else shape  # of a classifier, a mean over the words
        yield NetworkPiece(partial(nn.Linear, self.hidden, classes), last)
