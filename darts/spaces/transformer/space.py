"""The transformer space.

A point has two parameters for each block: the mixer and the feed-forward layer.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; So, Liang and Le, "The Evolved
    Transformer", arXiv:1901.11117; Chen et al., "AutoFormer", arXiv:2107.00651.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from darts.registry import choice, number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.checks import allowed, check_subset, subset_masks
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import Candidates
from darts.spaces.network import NetworkPiece
from darts.spaces.space import SPACES
from darts.spaces.transformer.frame import (
    POSITIONS,
    Embedding,
    ModelConfig,
    PositionalEncoding,
    check_heads,
)
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS, Genotype
from darts.spaces.transformer.layers import make_feed_forward, make_mixer
from darts.spaces.transformer.network import Network
from darts.spaces.transformer.supernet import GROUPS, Supernet

PENN_TREEBANK_WORDS = 10_000
"""Vocabulary size of Penn Treebank, for which numbers of parameters are reported."""


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
    supports_partial: ClassVar[bool] = False
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
        check_heads(self.hidden)
        choices = {"the mixers": MIXERS, "the feed-forward layers": FEED_FORWARDS}
        check_subset(self.candidates, choices)

    def model_config(self) -> ModelConfig:
        """Return the settings of supernets and networks."""
        return ModelConfig(self.hidden, self.positions, self.max_length, self.dropout)

    def supernet(self, **options: Any) -> Supernet:
        sizes = self.supported(options, depth=1, partial=1, auxiliary_skip=0)
        return Supernet(**sizes, cells=self.cells, config=self.model_config())

    def network(self, genotype: Genotype, **options: Any) -> Network:
        options = self.supported(options, auxiliary=0)
        return Network(genotype, **options, config=self.model_config())

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        sizes = [f"hidden={self.hidden}", f"{PENN_TREEBANK_WORDS:,} tokens"]
        return {"vocab_size": PENN_TREEBANK_WORDS}, sizes

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

        The cost of attention per word depends on the length of the text. A language model has no
        piece for its embedding, because it shares its weights with the decoder.

        Args:
            classes: Vocabulary size of a language model, or number of classes.
            sample_shape: ``()`` for a language model; ``(V,)`` for a classifier of texts with a
                vocabulary of V words.
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
